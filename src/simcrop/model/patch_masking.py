"""Which patches the encoder sees: uniform random masking, drawn for each volume by itself."""

from typing import NamedTuple

import torch
from einops import repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor


class PatchMasking(NamedTuple):
    """A partition of the patches; both index lists are in the random order of the draw."""

    visible: Int[Tensor, "batch visible"]
    masked: Int[Tensor, "batch masked"]

    @property
    def is_masked(self) -> Bool[Tensor, "batch patches"]:
        """True where a patch is hidden from the encoder and to be reconstructed."""
        num_patches = self.visible.shape[1] + self.masked.shape[1]
        is_masked = self.visible.new_zeros((len(self.visible), num_patches), dtype=torch.bool)
        return is_masked.scatter(1, self.masked, True)


def mask_patches(
    batch: int, num_patches: int, ratio: float, generator: torch.Generator
) -> PatchMasking:
    """Draw which patches of each volume are hidden; exactly N * (1 - ratio), cut, stay visible.

    Paper: masked volume modelling, 75 % of the patches dropped.

    Raises:
        ValueError: if no patch or every patch would be visible.
    """
    num_visible = int(round(num_patches * (1 - ratio), 6))  # 10 * (1 - 0.9) is below 1 in floats
    if not 0 < num_visible < num_patches:
        raise ValueError(
            f"mask ratio {ratio} leaves {num_visible} of {num_patches} patches visible; "
            "expected at least one visible and one hidden patch"
        )
    noise = torch.rand(batch, num_patches, generator=generator, device=generator.device)
    order = noise.argsort(dim=1)
    return PatchMasking(order[:, :num_visible], order[:, num_visible:])


def gather(
    rows: Float[Tensor, "batch patches width"], index: Int[Tensor, "batch chosen"]
) -> Float[Tensor, "batch chosen width"]:
    """Return the chosen rows of each volume."""
    return rows.gather(1, repeat(index, "b n -> b n d", d=rows.shape[-1]))
