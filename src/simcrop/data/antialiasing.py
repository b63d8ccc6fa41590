"""Resample with a triangle filter as wide as the new voxels, so that every old slice counts.

Point-sampled trilinear, the form of the published lineage, looks at two slices per new one; at
3 mm from 1 mm a third of them is thrown away and noise stays as it was. Here a new voxel is the
weighted mean of all old ones within one new voxel width, along each axis. Where the new voxels are
not larger than the old ones, the weights are exactly those of linear interpolation.

The filter is a product of three matrices, each nearly a band. They are applied block by block, so
that few zeros are multiplied and few slices are floats at a time.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32, Int16, Integer

_SLICES, _ROWS = 8, 60  # new slices, rows and columns per block; measured: 4 to 16, 30 to 240


def average(
    voxels: Integer[np.ndarray, "z y x"],
    spacing_mm: Sequence[float] | np.ndarray,
    shape: Sequence[int],
    new_spacing_mm: Sequence[float] | np.ndarray,
) -> Int16[np.ndarray, "new_z new_y new_x"]:
    """Return a volume on a coarser or finer grid whose first outer corner is the same.

    Args:
        voxels: HU, in the order of memory.
        spacing_mm: of the voxels along z, y, x.
        shape: of the result.
        new_spacing_mm: of the result, along z, y, x.
    """
    along_z, along_y, along_x = (
        _weights(*axis)
        for axis in zip(voxels.shape, spacing_mm, shape, new_spacing_mm, strict=True)
    )
    result = np.empty(shape, dtype=np.int16)
    for new_z, old_z in _blocks(along_z, _SLICES):
        slices = voxels[old_z].astype(np.float32)
        slices = np.tensordot(along_z[new_z, old_z], slices, axes=1)
        rows = np.empty((len(slices), shape[1], slices.shape[2]), dtype=np.float32)
        for new_y, old_y in _blocks(along_y, _ROWS):
            rows[:, new_y] = along_y[new_y, old_y] @ slices[:, old_y]
        for new_x, old_x in _blocks(along_x, _ROWS):
            block = rows[:, :, old_x] @ along_x[new_x, old_x].T
            result[new_z, :, new_x] = np.rint(block, out=block)
    return result


def _weights(
    num_old: int, old_mm: float, num_new: int, new_mm: float
) -> Float32[np.ndarray, "new old"]:
    """Return the share of each old voxel in each new one; rows sum to 1, at the edges too."""
    old_centers = (np.arange(num_old) + 0.5) * old_mm
    new_centers = (np.arange(num_new) + 0.5) * new_mm
    # beyond the outermost centre the edge goes on, as it does for linear interpolation
    new_centers = new_centers.clip(old_centers[0], old_centers[-1])
    distance = np.abs(new_centers[:, None] - old_centers) / max(old_mm, new_mm)
    weights = np.maximum(1 - distance, 0)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _blocks(weights: np.ndarray, size: int) -> Iterator[tuple[slice, slice]]:
    """Yield rows of a band matrix together with the columns in which they are not zero."""
    for start in range(0, len(weights), size):
        used = np.flatnonzero(weights[start : start + size].any(axis=0))
        yield slice(start, min(start + size, len(weights))), slice(used[0], used[-1] + 1)
