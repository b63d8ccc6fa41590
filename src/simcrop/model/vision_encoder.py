"""The vision encoder: a 3-D vision transformer over the patches of a CT crop.

It is the part that is kept after pre-training. Masked modelling gives it a quarter of the
patches; downstream use and the optional unmasked alignment pass give it all of them.
"""

from typing import NamedTuple

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from simcrop.geometry import PatchGrid
from simcrop.model.patch_embedding import PatchEmbedding
from simcrop.model.patch_masking import gather
from simcrop.model.position_embedding import position_table
from simcrop.model.transformer import PreNormBlock


class EncodedVolume(NamedTuple):
    """What the encoder makes of a volume; `before_norm` is what the authors' probe reads."""

    cls_token: Float[Tensor, "batch dim"]
    patch_tokens: Float[Tensor, "batch patches dim"]
    before_norm: Float[Tensor, "batch patches dim"]


class VisionEncoder(nn.Module):
    """A ViT with class token, fixed positions and a final norm (paper: ViT-B, 12 x 768).

    Args:
        grid: geometry of crop and patches.
        dim, depth, heads, mlp_ratio: size of the transformer.
        position: name of the position table, see `position_embedding`; "stored" for a table
            that comes with the weights.
        patch_embedding: what makes patches into tokens; linear unless given.

    Raises:
        ValueError: if the position table is unknown or the width does not suit it.
    """

    position: Tensor

    def __init__(
        self,
        grid: PatchGrid,
        *,
        dim: int = 768,
        depth: int = 12,
        heads: int = 12,
        mlp_ratio: float = 4.0,
        position: str = "sine_cosine_3d",
        patch_embedding: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.dim = dim
        self.patch_embedding = patch_embedding or PatchEmbedding(grid, dim)
        self.cls_token = nn.Parameter(torch.empty(dim))
        self.blocks = nn.ModuleList([PreNormBlock(dim, heads, mlp_ratio) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        is_stored = position == "stored"
        table = (
            torch.zeros(grid.num_patches, dim)
            if is_stored
            else position_table(position, grid.shape, dim)
        )
        self.register_buffer("position", table, persistent=is_stored)
        initialise(self)
        nn.init.normal_(self.cls_token, std=0.02)

    def forward(
        self,
        patches: Float[Tensor, "batch all_patches patch_voxels"],
        visible: Int[Tensor, "batch patches"] | None = None,
        reach: int | None = None,
    ) -> EncodedVolume:
        """Encode the visible patches (all, where `visible` is not given).

        Args:
            patches: voxels of every patch of the crop, in [-1, 1].
            visible: indices of the patches that may be seen, in any order.
            reach: where given, a patch attends only to patches at most this many cells away
                along every axis, so that what it says is about its own place. The class token
                still attends to all; no patch attends to it.
        """
        B, N, _ = patches.shape
        position = self.position
        if visible is not None:
            patches, position = gather(patches, visible), position[visible]
        tokens = self.patch_embedding(patches) + position
        tokens = torch.cat([repeat(self.cls_token, "d -> b 1 d", b=B), tokens], dim=1)
        may_attend = self._local(reach, N, visible) if reach else None
        for block in self.blocks:
            assert isinstance(block, PreNormBlock)
            tokens = block.apart(tokens) if reach == 0 else block(tokens, may_attend)
        normed = self.norm(tokens)
        return EncodedVolume(normed[:, 0], normed[:, 1:], tokens[:, 1:])

    def _local(
        self, reach: int, num_patches: int, visible: Int[Tensor, "batch patches"] | None
    ) -> Bool[Tensor, "batch_or_one 1 tokens tokens"]:
        near = self.grid.neighbours(reach).to(self.position.device)
        if visible is None:
            near = rearrange(near, "n m -> 1 n m")
        else:
            near = near[visible[:, :, None], visible[:, None, :]]
        may_attend = nn.functional.pad(near, (1, 0, 1, 0), value=False)
        may_attend[:, 0, :] = True
        return rearrange(may_attend, "b n m -> b 1 n m")


def initialise(module: nn.Module) -> None:
    """Initialise linear layers as MAE does: Xavier-uniform weights, zero biases."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
