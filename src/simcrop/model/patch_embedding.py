"""Patches to tokens: one linear layer on the voxels of each patch.

Equal to a 3-D convolution whose stride is its kernel, but it runs on the visible patches only,
and the cut patches serve again as the target of the reconstruction (`objectives`). Cutting and
joining are pure geometry: `PatchGrid.cut` and `PatchGrid.join`.
"""

from jaxtyping import Float
from torch import Tensor, nn

from simcrop.geometry import PatchGrid
from simcrop.types import Patches


class PatchEmbedding(nn.Module):
    """A linear map from the voxels of a patch, in [-1, 1], to a token of width `dim`."""

    def __init__(self, grid: PatchGrid, dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(grid.patch_voxels, dim)
        nn.init.xavier_uniform_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def forward(self, patches: Patches) -> Float[Tensor, "batch patches dim"]:
        """Return one token per patch, without position."""
        return self.projection(patches)
