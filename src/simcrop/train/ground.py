"""Ground sentences on one CT: a map that opens over it in any viewer, and a picture.

The similarity map is a small NIfTI on the patch grid whose affine puts it on the CT, so no
voxel of it is invented by resampling; the picture shows it on the CT's own slices.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from simcrop.data.atomic import atomic_path
from simcrop.data.native import on_native_grid
from simcrop.data.reading import read_image
from simcrop.data.volume import Volume, affine_of, array_of, read_volume, to_ras, write_volume
from simcrop.evaluate.figures import grounding_figure
from simcrop.evaluate.slices import LUNG_WINDOW, Voxel, Window, mask_voxel
from simcrop.train.pretrained import Pretrained, SimilarityMap


@dataclass(frozen=True)
class GroundedFile:
    """What was written for one sentence, and where its best patch lies.

    Attributes:
        sentence: the query.
        map_path: similarity map, NIfTI on the patch grid.
        picture_paths: axial, coronal and sagittal slice through the peak and, where a mask is
            given, through the mask.
        peak_mm: RAS+ position of the centre of the most similar body patch.
        peak: its similarity.
        median: similarity of the median body patch.
    """

    sentence: str
    map_path: Path
    picture_paths: tuple[Path, ...]
    peak_mm: tuple[float, float, float]
    peak: float
    median: float


def ground(
    pretrained: Pretrained,
    volume_path: Path,
    sentences: list[str],
    folder: Path,
    *,
    mask_path: Path | None = None,
    window: Window = LUNG_WINDOW,
) -> list[GroundedFile]:
    """Write the map and a picture of every sentence for a volume of any readable format.

    Args:
        pretrained: the checkpoint.
        volume_path: file or DICOM folder.
        sentences: what to look for.
        folder: where `1_map.nii.gz`, `1_picture.png`, `2_map.nii.gz`, ... are written.
        mask_path: a mask whose outline the pictures show, in the CT's frame; a second picture
            runs through it.
        window: which HU the pictures show.

    Raises:
        DataError: if the volume or the mask cannot be read.
    """
    native = read_volume(volume_path)
    maps = pretrained.similarity_map(native, sentences)
    mask = None if mask_path is None else read_mask_on(mask_path, native)
    return [
        _write(maps, number, sentence, native, folder, mask, window)
        for number, sentence in enumerate(sentences)
    ]


def read_mask_on(path: Path, native: Volume) -> np.ndarray:
    """Return a mask of any grid on the voxels of a volume in the same frame."""
    image = to_ras(read_image(path))
    values = (array_of(image) > 0).astype(np.float32)
    return on_native_grid(values, affine_of(image), native, interpolation="nearest") > 0


def peak_patch(maps: SimilarityMap, number: int) -> int:
    """Return the index of the most similar body patch of a sentence."""
    values = np.where(maps.is_body, maps.values[number], -np.inf)
    return int(values.argmax())


def _write(
    maps: SimilarityMap,
    number: int,
    sentence: str,
    native: Volume,
    folder: Path,
    mask: np.ndarray | None,
    window: Window,
) -> GroundedFile:
    values = maps.values[number]
    map_path = folder / f"{number + 1}_map.nii.gz"
    folder.mkdir(parents=True, exist_ok=True)
    write_volume(map_path, values.astype(np.float32), maps.affine)
    cuts: dict[str, Voxel | None] = {"picture": None}
    if mask is not None and mask.any():
        cuts["picture_at_mask"] = mask_voxel(mask)
    picture_paths = tuple(folder / f"{number + 1}_{name}.png" for name in cuts)
    for picture_path, at in zip(picture_paths, cuts.values(), strict=True):
        with atomic_path(picture_path) as path:
            picture(maps, number, sentence, native, mask, window, at).savefig(path, dpi=144)
    best = np.unravel_index(peak_patch(maps, number), values.shape)
    peak_mm = (maps.affine @ (*best, 1.0))[:3]
    return GroundedFile(
        sentence,
        map_path,
        picture_paths,
        (float(peak_mm[0]), float(peak_mm[1]), float(peak_mm[2])),
        float(values[best]),
        float(np.median(values[maps.is_body])),
    )


def picture(
    maps: SimilarityMap,
    number: int,
    sentence: str,
    native: Volume,
    mask: np.ndarray | None,
    window: Window = LUNG_WINDOW,
    at: Voxel | None = None,
) -> Figure:
    """Return the figure of one sentence on the CT's own grid; patches of air stay clear.

    The slices run through the peak of the map, or through voxel `at`.
    """
    body = np.where(maps.is_body, maps.values[number], np.nan)
    selected = maps.selected[number].astype(np.float32)
    is_selected = on_native_grid(selected, maps.affine, native, interpolation="nearest") > 0
    return grounding_figure(
        native.hu,
        native.affine,
        _on_native(body, maps.affine, native),
        sentence,
        mask=mask,
        is_selected=is_selected,
        window=window,
        at=at,
    )


def _on_native(values: np.ndarray, affine: np.ndarray, native: Volume) -> np.ndarray:
    """Return patch values on the CT, each voxel that of its patch, nan where there is none."""
    filled = np.where(np.isnan(values), -2.0, values)
    painted = on_native_grid(filled, affine, native, interpolation="nearest", outside=-2.0)
    return np.where(painted < -1.5, np.nan, painted)
