"""Grids: where every patch of a crop and every voxel of a file lies, in millimetres.

`PatchGrid` answers all questions that join the network's token order to the patient: index to
grid cell, cell to voxel box, box to mm. Indices run over x, then y, then z, last axis fastest
(row-major), the order in which `simcrop.model.patch_embedding` cuts a volume. `VoxelGrid` is the
grid of a file as it lies on disk, to which results go back.

Affines follow NIfTI: a 4 x 4 matrix from voxel indices (voxel *centres*) to world mm in RAS+.
"""

import json
import math
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

Shape3 = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class VoxelGrid:
    """The voxels of a volume in the order of its file, whatever its orientation.

    Attributes:
        shape: number of voxels along the file's own axes.
        affine: voxel index to world in RAS+ mm.
    """

    shape: Shape3
    affine: Float[np.ndarray, "4 4"]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along the file's own axes in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def orientation(self) -> str:
        """To which side each axis runs most: `RAS`, `LPS`, ..., one letter per axis."""
        axes = self.affine[:3, :3] / np.array(self.spacing_mm)
        # each world direction once, the clearest first: an axis at 45 degrees has two candidates
        sides, left = [""] * 3, axes.copy()
        for _ in range(3):
            world, axis = np.unravel_index(np.abs(left).argmax(), left.shape)
            sides[axis] = ("LR", "PA", "IS")[world][int(axes[world, axis] > 0)]
            left[world, :] = left[:, axis] = 0
        return "".join(sides)

    def to_json(self) -> str:
        """Return the grid as one cell of a table, to the last digit."""
        return json.dumps({"shape": self.shape, "affine": self.affine[:3].tolist()})

    @classmethod
    def from_json(cls, text: str) -> "VoxelGrid":
        """Return what `to_json` wrote.

        Raises:
            ValueError: if the text is none of its.
        """
        values = json.loads(text)
        if not isinstance(values, dict) or {"shape", "affine"} - values.keys():
            raise ValueError(f"{text!r} is no grid; expected the fields shape and affine")
        x, y, z = values["shape"]
        affine = np.vstack([np.array(values["affine"], dtype=float).reshape(3, 4), (0, 0, 0, 1)])
        return cls((x, y, z), affine)


@dataclass(frozen=True)
class PatchGrid:
    """The arrangement of patches that tile a crop without gaps.

    Attributes:
        crop_shape: voxels of the crop along x, y, z; the paper uses (224, 224, 112).
        patch_shape: voxels of one patch along x, y, z; the paper uses (16, 16, 8).

    Raises:
        ValueError: if an axis of the crop is not a whole number of patches.
    """

    crop_shape: Shape3
    patch_shape: Shape3

    def __post_init__(self) -> None:
        if any(
            p < 1 or c < p or c % p for c, p in zip(self.crop_shape, self.patch_shape, strict=True)
        ):
            raise ValueError(
                f"crop of {self.crop_shape} voxels is not a whole number of patches of "
                f"{self.patch_shape} voxels along every axis; choose a multiple of the patch"
            )

    @property
    def shape(self) -> Shape3:
        """Grid cells along x, y, z; each axis is computed by itself."""
        (cx, cy, cz), (px, py, pz) = self.crop_shape, self.patch_shape
        return cx // px, cy // py, cz // pz

    @property
    def num_patches(self) -> int:
        """Number of patches, N."""
        return math.prod(self.shape)

    @property
    def patch_voxels(self) -> int:
        """Number of voxels in one patch, P."""
        return math.prod(self.patch_shape)

    def cell(self, index: int) -> Shape3:
        """Return the grid cell (gx, gy, gz) of a patch index.

        Raises:
            IndexError: if the index is outside 0..N-1.
        """
        if not 0 <= index < self.num_patches:
            raise IndexError(f"patch {index} of a grid with {self.num_patches} patches")
        gx, gy, gz = np.unravel_index(index, self.shape)
        return int(gx), int(gy), int(gz)

    def index(self, cell: Shape3) -> int:
        """Return the patch index of a grid cell; the inverse of `cell`.

        Raises:
            ValueError: if the cell is outside the grid.
        """
        return int(np.ravel_multi_index(cell, self.shape))

    def voxel_box(self, index: int) -> tuple[slice, slice, slice]:
        """Return the voxels of the crop that a patch covers, as three slices."""
        sx, sy, sz = (
            slice(c * p, (c + 1) * p)
            for c, p in zip(self.cell(index), self.patch_shape, strict=True)
        )
        return sx, sy, sz

    def affine(self, crop_affine: np.ndarray) -> np.ndarray:
        """Return the affine of a map with one value per patch, given the crop's affine.

        The first cell's centre lies half a patch minus half a voxel inside the crop, so a map
        saved with this affine sits on the CT in any viewer, with no resampling.
        """
        to_voxels = np.eye(4)
        to_voxels[:3, :3] = np.diag(self.patch_shape)
        to_voxels[:3, 3] = (np.asarray(self.patch_shape) - 1) / 2
        return np.asarray(crop_affine, dtype=float) @ to_voxels

    def centers_mm(self, crop_affine: np.ndarray) -> np.ndarray:
        """Return the world position in mm of every patch centre, shape (N, 3)."""
        affine = self.affine(crop_affine)
        return self._cells @ affine[:3, :3].T + affine[:3, 3]

    def cut(self, voxels: Float[Tensor, "*batch x y z"]) -> Float[Tensor, "*batch patches voxels"]:
        """Cut volumes into patches, one row per patch; `join` is the inverse.

        Raises:
            einops.EinopsError: if the volumes are not of the crop's shape.
        """
        (gx, gy, gz), (px, py, pz) = self.shape, self.patch_shape
        return rearrange(
            voxels,
            "... (gx px) (gy py) (gz pz) -> ... (gx gy gz) (px py pz)",
            gx=gx, gy=gy, gz=gz, px=px, py=py, pz=pz,
        )  # fmt: skip

    def join(
        self, patches: Float[Tensor, "*batch patches voxels"]
    ) -> Float[Tensor, "*batch x y z"]:
        """Put patches back into volumes; the exact inverse of `cut`."""
        (gx, gy, gz), (px, py, pz) = self.shape, self.patch_shape
        return rearrange(
            patches,
            "... (gx gy gz) (px py pz) -> ... (gx px) (gy py) (gz pz)",
            gx=gx, gy=gy, gz=gz, px=px, py=py, pz=pz,
        )  # fmt: skip

    def share(self, is_inside: Bool[Tensor, "*batch x y z"]) -> Float[Tensor, "*batch patches"]:
        """Return the share of each patch's voxels for which `is_inside` holds, in [0, 1]."""
        (gx, gy, gz), (px, py, pz) = self.shape, self.patch_shape
        counts = is_inside.float()  # summed axis by axis: no voxel is moved, a third of the time
        counts = counts.unflatten(-3, (gx, px)).sum(-3)
        counts = counts.unflatten(-2, (gy, py)).sum(-2)
        counts = counts.unflatten(-1, (gz, pz)).sum(-1)
        return counts.flatten(-3) / (px * py * pz)

    def neighbours(self, reach: int) -> Bool[Tensor, "patches patches"]:
        """Return which patches lie within `reach` cells of each other along every axis.

        A reach of 1 gives the 3 x 3 x 3 neighbourhood; a patch is its own neighbour.
        """
        near = torch.ones(self.num_patches, self.num_patches, dtype=torch.bool)
        for axis in torch.from_numpy(self._cells.astype(np.int16)).unbind(dim=1):
            near &= (axis[:, None] - axis[None]).abs() <= reach
        return near

    @property
    def _cells(self) -> np.ndarray:
        return np.stack(np.unravel_index(np.arange(self.num_patches), self.shape), axis=1)
