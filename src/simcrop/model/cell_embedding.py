"""Patches to tokens by way of their cells: a small convolutional stem inside each patch.

A linear map of voxels tells densities only by their average, and a lesion only where it lay in
training. Here every voxel is first shared out between the two nearest of some levels (air, lung,
fat, water, muscle, contrast, bone, calcium), so that a block of voxels says how much of each it
holds: a soft histogram. All cells of the patch, a few blocks each, share one small layer, and a
linear map reads their answers in place. No cell looks beyond its patch, so hidden patches stay
hidden and visible ones are still embedded alone.

The shares come from a table of finely stepped voxel values, one look-up per voxel; no gradient
reaches the voxels.

Differs: the paper embeds patches linearly (`PatchEmbedding`), as the vision transformer does.
"""

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from simcrop.geometry import PatchGrid, Shape3
from simcrop.types import Patches

STEPS = 1024  # of the range [-1, 1]; 2 HU each in a window of 2,000


class CellEmbedding(nn.Module):
    """A two-layer embedding of a patch, the first layer shared by its cells.

    Args:
        grid: geometry of the patches.
        dim: width of the tokens.
        block_shape: voxels whose shares are averaged, along x, y and z.
        cell_shape: blocks of a cell, likewise.
        cell_dim: width of a cell's answer.
        levels: voxel values in ascending order, on the scale of the patches; what lies beyond the
            first and the last belongs to them.

    Raises:
        ValueError: if the cells do not fill the patch, or the levels do not ascend.
    """

    shares: Tensor

    def __init__(
        self,
        grid: PatchGrid,
        dim: int,
        *,
        block_shape: Shape3,
        cell_shape: Shape3,
        cell_dim: int,
        levels: Sequence[float],
    ) -> None:
        super().__init__()
        cells = [
            p // (b * c) for p, b, c in zip(grid.patch_shape, block_shape, cell_shape, strict=True)
        ]
        filled = [n * b * c for n, b, c in zip(cells, block_shape, cell_shape, strict=True)]
        if tuple(filled) != tuple(grid.patch_shape):
            raise ValueError(
                f"cells of {cell_shape} blocks of {block_shape} voxels do not fill a patch of "
                f"{grid.patch_shape}; choose divisors"
            )
        self.register_buffer("shares", share_table(levels), persistent=False)
        self._axes = {
            f"{name}{axis}": n
            for name, shape in (("n", cells), ("c", cell_shape), ("b", block_shape))
            for axis, n in zip("xyz", shape, strict=True)
        }
        self.cell = nn.Linear(prod(cell_shape) * len(levels), cell_dim)
        self.projection = nn.Linear(prod(cells) * cell_dim, dim)

    def forward(self, patches: Patches) -> Float[Tensor, "batch patches dim"]:
        """Return one token per patch, without position."""
        B, N, _ = patches.shape
        step = ((patches + 1) * ((STEPS - 1) / 2)).round().clamp(0, STEPS - 1).int()
        blocks = rearrange(
            step,
            "b p (nx cx bx ny cy by nz cz bz) -> (b p nx ny nz cx cy cz) (bx by bz)",
            **self._axes,
        )
        shares = F.embedding_bag(blocks, self.shares, mode="mean")
        # doubled: to about the size of the other inputs of a network
        answers = F.gelu(self.cell(2 * shares.view(B, N, -1, self.cell.in_features)))
        return self.projection(answers.flatten(start_dim=2))


def share_table(levels: Sequence[float]) -> Float[Tensor, "steps levels"]:
    """Return how a voxel of each stepped value in [-1, 1] is shared between the levels.

    Rows sum to 1 and have at most two entries, those of the levels on either side.

    Raises:
        ValueError: if there are fewer than two levels, or they do not ascend.
    """
    at = np.asarray(levels, dtype=float)
    if len(at) < 2 or not (np.diff(at) > 0).all():
        raise ValueError(f"levels {list(levels)}; expected two or more in ascending order")
    values = np.linspace(-1, 1, STEPS)[:, None]
    passed = np.clip((values - at[:-1]) / np.diff(at), 0, 1)
    before = np.pad(passed, ((0, 0), (1, 0)), constant_values=1.0)
    after = np.pad(passed, ((0, 0), (0, 1)))
    return torch.from_numpy((before - after).astype(np.float32))
