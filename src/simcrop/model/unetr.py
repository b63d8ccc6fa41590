"""UNETR: a segmentation network on the pre-trained vision encoder, as the authors lay it out.

The encoder sees a crop without class token. Its tokens after three of its blocks and after the
last, normalised one become feature maps; a decoder of MONAI's UNETR blocks goes from the coarsest
to the crop's own voxels, and joins at each size the map that has it. At the paper's size:

    input conv        16 x  96 x 96 x 48  ---------------------------------------+
    block 4           32 x  48 x 48 x 48  ----------------------+                |
    block 7           64 x  24 x 24 x 24  --------+             |                |
    block 10         128 x  12 x 12 x 12  -+      |             |                |
    block 12, norm   768 x   6 x  6 x  6 --join -join ---------join - resize ---join - classes

Paper: downstream segmentation (method.md, section 12). Follows the authors' released `unetr.py`
(ToniChopp/SimCroP, Apache-2.0) in layout, written from its description.

Differs: sizes follow from the patch, axis by axis, and the skips from the depth, so that any
encoder of ours fits. A patch of 12 x 12 x 6 is undone in steps of 3, 2 and (2, 2, 1).
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from monai.networks.blocks.dynunet_block import UnetResBlock, get_conv_layer
from monai.networks.blocks.unetr_block import UnetrBasicBlock, UnetrPrUpBlock, UnetrUpBlock
from torch import Tensor, nn

from simcrop.geometry import Shape3
from simcrop.model.position_embedding import ONE_CELL, Step, position_table
from simcrop.model.vision_encoder import VisionEncoder

NUM_SKIPS = 3
NORM = "instance"

Crops = Float[Tensor, "batch 1 x y z"]


class UNETR(nn.Module):
    """A segmentation network that takes an encoder apart and trains all that it keeps.

    Args:
        encoder: of the crop's grid, with its weights; class token and final norm are left behind,
            as the authors do, who train a new norm.
        num_classes: background included.
        feature_size: channels at full size; the skips have 2, 4 and 8 times as many.
        position: name of the position table that is built for the crop's grid.
        step: see `sine_cosine_3d`.

    Raises:
        ValueError: if there is no such position table.
    """

    position: Tensor

    def __init__(
        self,
        encoder: VisionEncoder,
        num_classes: int,
        *,
        feature_size: int = 16,
        position: str = "sine_cosine_3d",
        step: Step = ONE_CELL,
    ) -> None:
        super().__init__()
        grid, dim, size = encoder.grid, encoder.dim, feature_size
        self.grid = grid
        self.patch_embedding = encoder.patch_embedding
        self.blocks = encoder.blocks
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        table = position_table(position, grid.shape, dim, step)
        self.register_buffer("position", table, persistent=False)
        self.skip_blocks = skip_blocks(len(encoder.blocks))
        coarse, middle, fine = up_steps(grid.patch_shape)
        self.input_skip = UnetrBasicBlock(3, 1, size, 3, 1, NORM, res_block=True)
        self.skips = nn.ModuleList(
            [
                _upscale(dim, 2 * size, [coarse, middle, fine]),
                _upscale(dim, 4 * size, [coarse, middle]),
                _upscale(dim, 8 * size, [coarse]),
            ]
        )
        widths = (dim, 8 * size, 4 * size, 2 * size)
        self.joins = nn.ModuleList(
            [
                UnetrUpBlock(3, wide, narrow, 3, factors, NORM, res_block=True)
                for wide, narrow, factors in zip(
                    widths[:-1], widths[1:], (coarse, middle, fine), strict=True
                )
            ]
        )
        self.narrow = nn.Conv3d(2 * size, size, kernel_size=3, padding=1)
        self.last_join = UnetResBlock(3, 2 * size, size, 3, 1, NORM)
        self.classify = nn.Conv3d(size, num_classes, kernel_size=1)

    def forward(self, voxels: Crops) -> Float[Tensor, "batch classes x y z"]:
        """Return the logits of every class at every voxel of crops in [-1, 1]."""
        fine, middle, coarse, bottom = self._encode(voxels)
        joined = bottom
        for join, lift, tokens in zip(
            self.joins, reversed(self.skips), (coarse, middle, fine), strict=True
        ):
            joined = join(joined, lift(tokens))
        # Trilinear to the crop's own voxels: the authors' last step, as 8 is 2 * 2 * 2, 16 is not
        resized = F.interpolate(joined, size=voxels.shape[2:], mode="trilinear")
        joined = torch.cat([self.narrow(resized), self.input_skip(voxels)], dim=1)
        return self.classify(self.last_join(joined))

    def _encode(self, voxels: Crops) -> list[Float[Tensor, "batch dim gx gy gz"]]:
        """Return the tokens after the three skip blocks, and the normalised last, as maps."""
        tokens = self.patch_embedding(self.grid.cut(voxels[:, 0])) + self.position
        kept = []
        for block in self.blocks:
            tokens = block(tokens)
            kept.append(tokens)
        gx, gy, gz = self.grid.shape
        return [
            rearrange(tokens, "b (gx gy gz) d -> b d gx gy gz", gx=gx, gy=gy, gz=gz)
            for tokens in (*(kept[number - 1] for number in self.skip_blocks), self.norm(kept[-1]))
        ]


def skip_blocks(depth: int) -> tuple[int, int, int]:
    """Return after which blocks, counted from 1, tokens are kept: 4, 7 and 10 of 12."""
    first, second, third = (min(1 + i * depth // 4, depth) for i in range(1, NUM_SKIPS + 1))
    return first, second, third


def up_steps(patch_shape: Shape3) -> tuple[Shape3, Shape3, Shape3]:
    """Return by how much each axis grows in the three steps from tokens towards voxels.

    The largest prime factors of each axis come first; what three steps do not undo, such as the
    fourth 2 of 16, is left to the resize at the end.
    """
    factors = [(*_primes(size), 1, 1, 1)[:NUM_SKIPS] for size in patch_shape]
    coarse, middle, fine = zip(*factors, strict=True)
    return coarse, middle, fine


def _primes(size: int) -> list[int]:
    """Return the prime factors of a number, the largest first."""
    for divisor in range(2, math.isqrt(size) + 1):
        if size % divisor == 0:
            return sorted([divisor, *_primes(size // divisor)], reverse=True)
    return [size] if size > 1 else []


def _upscale(dim: int, channels: int, steps: list[Shape3]) -> nn.Sequential:
    """Return MONAI's UnetrPrUpBlock of residual blocks with steps that may differ by axis."""
    first, *later = steps
    parts: list[nn.Module] = [UnetrPrUpBlock(3, dim, channels, 0, 3, 1, first, NORM)]
    for step in later:
        parts.append(
            get_conv_layer(
                3, channels, channels, kernel_size=step, stride=step,
                conv_only=True, is_transposed=True,
            )
        )  # fmt: skip
        parts.append(UnetResBlock(3, channels, channels, 3, 1, NORM))
    return nn.Sequential(*parts)
