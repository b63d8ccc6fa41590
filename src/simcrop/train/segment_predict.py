"""Labels of a CT of any readable format: on its own voxels, under its own name, with a picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simcrop.data.atomic import atomic_path
from simcrop.data.native import on_native_grid, write_native
from simcrop.data.preprocessing import prepare_volume
from simcrop.data.volume import read_volume
from simcrop.errors import DataError, complain
from simcrop.evaluate.segmentation_figures import labels_figure, window_for
from simcrop.evaluate.slices import LUNG_WINDOW, SOFT_TISSUE_WINDOW
from simcrop.train.features import Progress
from simcrop.train.segmenter import Segmenter

_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".npz", ".zip")
_WINDOWS = {"lung": LUNG_WINDOW, "soft": SOFT_TISSUE_WINDOW}


@dataclass(frozen=True)
class PredictedFile:
    """What was written for one CT.

    Attributes:
        labels_path: label map with the shape and affine of the CT's file.
        picture_path: three slices of it.
        volumes_ml: millilitres of every class that was found.
    """

    labels_path: Path
    picture_path: Path
    volumes_ml: dict[str, float]


def predict_files(
    segmenter: Segmenter,
    paths: Sequence[Path],
    folder: Path,
    *,
    window: str = "auto",
    on_progress: Progress = lambda done, total, what: None,
) -> list[PredictedFile]:
    """Write `NAME.nii.gz` and `NAME.png` for every CT, NAME being its file's or folder's.

    Args:
        segmenter: the network.
        paths: files or DICOM folders.
        folder: where to write; never where it would replace one of the CTs.
        window: `lung`, `soft`, or `auto` by what is labelled, for the pictures.
        on_progress: called with (done, total, what).

    Raises:
        DataError: if a CT cannot be read, two have one name, or the output would replace one.
    """
    outputs = [folder / f"{stem_of(path)}.nii.gz" for path in paths]
    for path, output in zip(paths, outputs, strict=True):
        if outputs.count(output) > 1 or output.absolute() == path.absolute():
            raise DataError(
                complain(
                    f"{path}: its labels would be {output}, which is taken",
                    "one name per volume, in another folder than the volumes",
                    "Choose another -o, or predict them in two runs.",
                )
            )
    written = []
    for done, (path, output) in enumerate(zip(paths, outputs, strict=True)):
        on_progress(done, len(paths), "segment volumes")
        written.append(_predict(segmenter, path, output, window))
    on_progress(len(paths), len(paths), "segment volumes")
    return written


def stem_of(path: Path) -> str:
    """Return the name of a volume without the ending of its format."""
    name = path.name or path.absolute().name
    return next((name.removesuffix(end) for end in _ENDINGS if name.endswith(end)), name)


def _predict(segmenter: Segmenter, path: Path, output: Path, window: str) -> PredictedFile:
    prepared = prepare_volume(path, segmenter.contract)
    assert prepared.native_grid is not None
    grid = prepared.native_grid
    labels = segmenter.native_labels(prepared, grid)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_native(output, labels, grid)
    setup = segmenter.setup
    native = read_volume(path)
    shown = on_native_grid(labels, grid.affine, native, interpolation="nearest")
    classes = setup.classes.index(shown, str(output))
    figure = labels_figure(
        native.hu,
        native.affine,
        classes,
        setup.classes.names,
        stem_of(path),
        window=_WINDOWS.get(window) or window_for(native.hu, classes),
    )
    picture_path = output.with_name(f"{stem_of(path)}.png")
    with atomic_path(picture_path) as unfinished:
        figure.savefig(unfinished, dpi=144, metadata={"Software": None})
    ml = float(np.prod(grid.spacing_mm)) / 1000
    counts = np.bincount(classes.ravel(), minlength=len(setup.classes))
    found = dict(zip(setup.classes.names[1:], (counts[1:] * ml).tolist(), strict=True))
    return PredictedFile(output, picture_path, {name: v for name, v in found.items() if v > 0})
