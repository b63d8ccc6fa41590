"""The vision decoder: visible tokens to the voxels of the hidden patches.

Tokens stay in the order of the draw (visible first, hidden after), which spares putting them
back, and the last block and the head run on the hidden tokens only; the result is that of the
plain masked autoencoder.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from simcrop.geometry import PatchGrid
from simcrop.model.patch_masking import PatchMasking
from simcrop.model.position_embedding import position_table
from simcrop.model.transformer import PreNormBlock
from simcrop.model.vision_encoder import initialise


class VisionDecoder(nn.Module):
    """A light transformer that paints the hidden patches (paper: 4 x 768, 16 heads)."""

    position: Tensor

    def __init__(
        self,
        grid: PatchGrid,
        *,
        encoder_dim: int = 768,
        dim: int = 768,
        depth: int = 4,
        heads: int = 16,
        mlp_ratio: float = 4.0,
        position: str = "sine_cosine_3d",
    ) -> None:
        super().__init__()
        self.embedding = nn.Linear(encoder_dim, dim)
        self.mask_token = nn.Parameter(torch.empty(dim))
        self.blocks = nn.ModuleList([PreNormBlock(dim, heads, mlp_ratio) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, grid.patch_voxels)
        self.register_buffer(
            "position", position_table(position, grid.shape, dim), persistent=False
        )
        initialise(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(
        self,
        cls_token: Float[Tensor, "batch dim"],
        visible_tokens: Float[Tensor, "batch visible dim"],
        masking: PatchMasking,
    ) -> Float[Tensor, "batch masked patch_voxels"]:
        """Return the predicted voxels of the masked patches, in the order of `masking.masked`."""
        cls = self.embedding(cls_token)[:, None]
        visible = self.embedding(visible_tokens) + self.position[masking.visible]
        hidden = self.mask_token + self.position[masking.masked]
        tokens = torch.cat([cls, visible, hidden], dim=1)
        for block in self.blocks[:-1]:
            tokens = block(tokens)
        first_hidden = 1 + visible.shape[1]
        return self.head(self.norm(self.blocks[-1](tokens, first_query=first_hidden)))
