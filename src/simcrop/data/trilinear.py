"""Linear interpolation between grids whose axes run alike: plane by plane, a product of axes.

SimpleITK's resampling serves any rotation and pays for it; here each axis has its two neighbours
and their weights once. A plane on which a new one falls exactly is not blended with the next.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int16, Integer


def interpolate(
    voxels: Integer[np.ndarray, "z y x"],
    spacing_mm: Sequence[float] | np.ndarray,
    shape: Sequence[int],
    new_spacing_mm: Sequence[float] | np.ndarray,
) -> Int16[np.ndarray, "new_z new_y new_x"]:
    """Return a volume on a coarser or finer grid whose first outer corner is the same.

    Values are trilinear at the new centres, within the outermost half voxel those of the edge, and
    rounded, halves upwards.

    Args:
        voxels: HU; any view, the order of memory is found out.
        spacing_mm: of the voxels along z, y, x.
        shape: of the result.
        new_spacing_mm: of the result, along z, y, x.
    """
    neighbours = [
        _neighbours(*axis)
        for axis in zip(voxels.shape, spacing_mm, shape, new_spacing_mm, strict=True)
    ]
    for axis in np.flatnonzero(np.array(voxels.strides) < 0):  # forwards through memory
        low, high, weight = neighbours[axis]
        last = voxels.shape[axis] - 1
        neighbours[axis] = last - low, last - high, weight
        voxels = np.flip(voxels, axis)
    result = np.empty(shape, dtype=np.int16)
    # in the order of memory, slowest axis first: rows are then contiguous
    order = np.argsort([-abs(stride) for stride in voxels.strides], kind="stable")
    _interpolate(voxels.transpose(order), [neighbours[i] for i in order], result.transpose(order))
    return result


def _neighbours(
    num_old: int, old_mm: float, num_new: int, new_mm: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the old voxels below and above each new centre and the weight of the upper one."""
    at = ((np.arange(num_new) + 0.5) * (new_mm / old_mm) - 0.5).clip(0, num_old - 1)
    low = np.floor(at + 1e-9).astype(np.intp)  # 3 / 0.6 is not quite 5
    weight = (at - low).clip(0, 1)
    weight[weight < 1e-9] = 0
    return low, np.minimum(low + 1, num_old - 1), weight.astype(np.float32)


def _interpolate(voxels: np.ndarray, axes: list, result: np.ndarray) -> None:
    (z_low, z_high, z_weight), rows, (x_low, x_high, x_weight) = axes
    plane, above, difference = (
        np.empty((len(rows[0]), voxels.shape[2]), dtype=np.float32) for _ in range(3)
    )
    left, right = (np.empty((len(rows[0]), len(x_low)), dtype=np.float32) for _ in range(2))
    for k, weight in enumerate(z_weight):
        _blend_rows(voxels[z_low[k]], *rows, plane, difference)
        if weight:
            _blend_rows(voxels[z_high[k]], *rows, above, difference)
            _blend(plane, above, weight)
        np.take(plane, x_low, axis=1, out=left, mode="clip")
        np.take(plane, x_high, axis=1, out=right, mode="clip")
        _blend(left, right, x_weight)
        left += np.float32(0.5)
        np.floor(left, out=left)
        result[k] = left


def _blend_rows(
    plane: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    weight: np.ndarray,
    into: np.ndarray,
    upper: np.ndarray,
) -> None:
    """Interpolate along the rows of a plane."""
    into[:] = plane[low]
    upper[:] = plane[high]
    _blend(into, upper, weight[:, None])


def _blend(low: np.ndarray, high: np.ndarray, weight: np.ndarray | np.floating) -> None:
    """Move `low` towards `high` by the weight, in place; `high` is used up."""
    high -= low
    high *= weight
    low += high
