"""Heads into the shared space, and from words to sentences.

The paper's lineage uses the same small head three times: for patch tokens, for word tokens of
the unmasked findings, and for word tokens of the masked report before the fusion.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ProjectionHead(nn.Sequential):
    """Linear, GELU, LayerNorm, Linear; the input may be normalised first.

    Args:
        in_dim, out_dim: widths before and after.
        normalise_input: put a LayerNorm without parameters before the head. Frozen text
            states share a large common part (39 % of the energy for MiniLM), which this
            brings to the scale of the patch tokens. Off in the paper's form.
    """

    def __init__(self, in_dim: int, out_dim: int, *, normalise_input: bool = False) -> None:
        first = [nn.LayerNorm(in_dim, elementwise_affine=False)] if normalise_input else []
        super().__init__(
            *first,
            nn.Linear(in_dim, out_dim),
            nn.GELU(),
            nn.LayerNorm(out_dim, eps=1e-12),
            nn.Linear(out_dim, out_dim),
        )


def pool_sentences(
    words: Float[Tensor, "batch words shared"],
    sentence_of_word: Int[Tensor, "batch words"],
    num_sentences: int,
) -> Float[Tensor, "batch sentences shared"]:
    """Return the mean over the words of each sentence, shape (B, S, E).

    Words numbered 0 belong to no sentence (padding, special tokens, dropped text); sentence j
    is row j - 1. A row without words is zero.

    Paper: similarity-driven alignment, the sentence embedding t_j.
    """
    numbers = torch.arange(1, num_sentences + 1, device=words.device)
    belongs = (sentence_of_word[:, None, :] == numbers[None, :, None]).to(words.dtype)
    counts = belongs.sum(dim=-1, keepdim=True).clamp(min=1)
    return torch.bmm(belongs / counts, words)
