"""Anatomical slices of a volume in radiological display.

Volumes are arrays (x, y, z) in RAS+ order: x grows to the patient's right, y to the front, z
to the head. A picture's rows run down and its columns to the right, and radiologists look at
the patient from the feet and from the front. So in every plane both axes of the slice are
reversed and then transposed: the patient's right is on the left, the front is up in an axial
slice and on the left in a sagittal one, and the head is up.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Shaped

Voxel = tuple[int, int, int]


@dataclass(frozen=True)
class Plane:
    """One of the three anatomical planes.

    Attributes:
        axis: the axis of the volume that the plane cuts.
        edges: letters of the picture's left, right, top and bottom edges.
    """

    name: str
    axis: int
    edges: str

    def cut(self, volume: Shaped[np.ndarray, "x y z"], at: Voxel) -> np.ndarray:
        """Return the slice through a voxel as rows from the top and columns from the left."""
        return np.flip(np.take(volume, at[self.axis], axis=self.axis)).T

    def pixel(self, at: Voxel, shape: Voxel) -> tuple[int, int]:
        """Return the (column, row) of a voxel in the picture."""
        column, row = (shape[i] - 1 - at[i] for i in range(3) if i != self.axis)
        return column, row

    def pixel_mm(self, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
        """Return the width and height of a pixel."""
        width, height = (spacing_mm[i] for i in range(3) if i != self.axis)
        return width, height


AXIAL = Plane("axial", 2, "RLAP")
CORONAL = Plane("coronal", 1, "RLSI")
SAGITTAL = Plane("sagittal", 0, "APSI")
PLANES = (AXIAL, CORONAL, SAGITTAL)


class Window(NamedTuple):
    """Which HU are shown as grey: below is black, above is white."""

    center_hu: float
    width_hu: float

    @property
    def limits_hu(self) -> tuple[float, float]:
        """Return the HU of black and of white."""
        return self.center_hu - self.width_hu / 2, self.center_hu + self.width_hu / 2


LUNG_WINDOW = Window(-600, 1500)
SOFT_TISSUE_WINDOW = Window(40, 400)


def spacing_of(affine: Float[np.ndarray, "4 4"]) -> tuple[float, float, float]:
    """Return the voxel size in mm of an RAS+ affine.

    Raises:
        ValueError: if the axes do not run to the right, the front and the head.
    """
    axes = affine[:3, :3]
    if (np.abs(axes).argmax(axis=0) != np.arange(3)).any() or (np.diag(axes) <= 0).any():
        raise ValueError(
            f"axes {axes.round(2).tolist()} are not in RAS+ order; expected x to the right, "
            "y to the front, z to the head. Read the volume with `read_volume`"
        )
    sx, sy, sz = np.linalg.norm(axes, axis=0).tolist()
    return sx, sy, sz


def peak_voxel(values: Float[np.ndarray, "x y z"]) -> Voxel:
    """Return the voxel of the largest value; the middle of the patch when values are per patch.

    Nan values, where a map has no patch, are passed over.
    """
    return _middle(np.argwhere(values == np.nanmax(values)))


def mask_voxel(mask: Bool[np.ndarray, "x y z"]) -> Voxel:
    """Return the voxel of a mask whose three slices show it best, counted by area.

    Raises:
        ValueError: if the mask is empty.
    """
    if not mask.any():
        raise ValueError("the mask is empty; expected at least one voxel")
    x, y, z = (int(np.argmax(mask.sum(axis=tuple({0, 1, 2} - {axis})))) for axis in range(3))
    return x, y, z


def _middle(voxels: np.ndarray) -> Voxel:
    """Return the voxel nearest to the centre of all."""
    offset = voxels - voxels.mean(axis=0)
    x, y, z = voxels[np.argmin((offset**2).sum(axis=1))].tolist()
    return x, y, z


def paint_patches(
    values: Shaped[np.ndarray, " patches"], grid_shape: Voxel, patch_shape: Voxel
) -> Shaped[np.ndarray, "x y z"]:
    """Return a volume in which every voxel has the value of its patch."""
    cells = values.reshape(grid_shape)
    for axis, size in enumerate(patch_shape):
        cells = cells.repeat(size, axis=axis)
    return cells
