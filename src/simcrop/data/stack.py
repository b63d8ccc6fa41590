"""Voxels in the order of memory with their place in the world: what a reader hands on.

SimpleITK's images do for its filters. Voxels from elsewhere (an inflated file, the pixels of DICOM
files) would have to be copied into one first, which costs as much as resampling them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Float, Num

from simcrop.geometry import VoxelGrid

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])


class _Memory:
    """The voxels of an image to NumPy, which then keeps the image; SimpleITK's views do not."""

    def __init__(self, image: sitk.Image) -> None:
        self.image = image
        self.__array_interface__ = sitk.GetArrayViewFromImage(image).__array_interface__


@dataclass(frozen=True, eq=False)
class Stack:
    """A volume as stored.

    Attributes:
        voxels: slices, rows, columns.
        spacing_mm: along x, y, z.
        direction: nine numbers, row by row; columns are the axes x, y, z in the LPS world.
        origin_mm: centre of the first voxel in the LPS world.
        series: see `simcrop.data.volume.Volume`.
        image: whose memory the voxels are a view of, or None.
    """

    voxels: Num[np.ndarray, "z y x"]
    spacing_mm: Sequence[float]
    direction: Sequence[float]
    origin_mm: Sequence[float]
    series: str = ""
    image: sitk.Image | None = None

    @classmethod
    def of(cls, image: sitk.Image, series: str = "") -> "Stack":
        """Return a 3-D image as a stack, without a copy."""
        voxels = np.asarray(_Memory(image))
        geometry = image.GetSpacing(), image.GetDirection(), image.GetOrigin()
        return cls(voxels, *geometry, series, image)

    def to_image(self) -> sitk.Image:
        """Return the stack as an image: its own, or a copy."""
        image = sitk.GetImageFromArray(self.voxels) if self.image is None else self.image
        image.SetSpacing(self.spacing_mm)
        image.SetDirection(self.direction)
        image.SetOrigin(self.origin_mm)
        return image

    def rounded(self) -> "Stack":
        """Round spacing to 1e-4 mm, origin to 1e-3 mm, direction to 1e-6.

        Formats keep numbers as float32, decimal strings or averages of slice positions, so that one
        volume exported twice differs in the sixth digit: 3.987342 and 3.987337 mm in a real pair.
        Such twins must give equal voxels after resampling. It costs below 0.03 mm over 512 voxels.
        """
        spacing, origin = np.round(self.spacing_mm, 4), np.round(self.origin_mm, 3)
        direction = np.round(self.direction, 6)
        return replace(
            self,
            spacing_mm=spacing.tolist(),
            direction=direction.tolist(),
            origin_mm=origin.tolist(),
        )

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """Voxel index (x, y, z) to RAS+ mm, as in NIfTI."""
        affine = np.eye(4)
        axes = np.reshape(self.direction, (3, 3))
        affine[:3, :3] = LPS_TO_RAS @ axes * np.array(self.spacing_mm)
        affine[:3, 3] = LPS_TO_RAS @ np.array(self.origin_mm)
        return affine + 0.0  # no negative zeros

    @property
    def grid(self) -> VoxelGrid:
        """Where the voxels lie on disk."""
        z, y, x = self.voxels.shape
        return VoxelGrid((x, y, z), self.affine)
