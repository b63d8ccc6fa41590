"""The way back: a result on a crop, a patch grid or a stored volume onto the voxels of the file.

Every step of the preprocessing keeps an affine, so the way back needs no record of what was
turned, resampled, cut or padded: a result with its affine meets the grid of the file in the
patient's own millimetres. `read_volume` and `prepare_volume` note that grid, a store keeps it in
its manifest:

    volume = prepare_volume(path, contract)             # or a row of a store
    grid = volume.native_grid                           # store.native_grid(volume_id)
    labels = on_native_grid(labels, volume.affine, grid, interpolation="nearest")
    write_native(out / "labels.nii.gz", labels, grid)   # shape, affine, orientation of the input

    maps = pretrained.similarity_map(path, sentences)   # one value per patch of the crop
    on_ct = on_native_grid(maps.values[0], maps.affine, grid, outside=float("nan"))

Labels need `nearest`; probabilities and similarities may be `linear`, or `nearest` to show each
patch as the block that it is. Voxels that the network never saw (beyond the crop) have `outside`.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Bool, Float, Num, Shaped

from simcrop.data.volume import Volume, array_of, geometry_of, to_image, write_volume
from simcrop.geometry import VoxelGrid

_INTERPOLATORS = {"linear": sitk.sitkLinear, "nearest": sitk.sitkNearestNeighbor}


def on_native_grid(
    values: Num[np.ndarray, "gx gy gz"] | Bool[np.ndarray, "gx gy gz"],
    affine: Float[np.ndarray, "4 4"],
    grid: VoxelGrid | Volume,
    *,
    interpolation: str = "linear",
    outside: float = 0.0,
) -> Num[np.ndarray, "x y z"]:
    """Return a result with its affine on the voxels of another grid.

    Args:
        values: one value per cell: labels of a stored volume or of a crop, or a similarity map.
        affine: cell index to RAS+ mm: of the volume, of the crop (`crop.affine`, which knows about
            padding), or of the patches (`PatchGrid.affine(crop.affine)`).
        grid: `Volume.native_grid` for the file as it lies on disk, or a `Volume` for its RAS
            voxels.
        interpolation: `linear` (trilinear, float32; the outermost half cell continues the edge), or
            `nearest` for labels and masks, whose type stays (booleans become 0 and 1).
        outside: the value beyond `values`; nan only for floats.
    """
    is_linear = interpolation == "linear"
    kept = values.astype(np.float32) if is_linear or values.dtype.kind == "f" else values
    spacing, direction, origin = geometry_of(grid.affine)
    resampled = sitk.Resample(
        to_image(kept, affine), grid.shape, sitk.Transform(),
        _INTERPOLATORS[interpolation], origin, spacing, direction, outside,
    )  # fmt: skip
    return array_of(resampled)


def write_native(path: Path | str, array: Shaped[np.ndarray, "x y z"], grid: VoxelGrid) -> None:
    """Write a result on the grid of its file as .nii, .nii.gz, .nrrd or .mha, whole or not at all.

    Raises:
        ValueError: if the array is not on that grid.
    """
    if array.shape != grid.shape:
        raise ValueError(f"an array of {array.shape} on a grid of {grid.shape}; map it there first")
    write_volume(path, array, grid.affine)
