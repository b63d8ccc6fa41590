"""Heads into the shared space, and from words to sentences.

The paper's lineage uses the same small head three times: for patch tokens, for word tokens of
the unmasked findings, and for word tokens of the masked report before the fusion.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from simcrop.model.standardise import Standardise


class ProjectionHead(nn.Sequential):
    """Linear, GELU, LayerNorm, Linear; the input may be normalised first.

    Args:
        in_dim, out_dim: widths before and after.
        first: what brings the input to the scale of the patch tokens: frozen text states share a
            large common part (39 % of the energy for MiniLM). None in the paper's form.
    """

    def __init__(self, in_dim: int, out_dim: int, *, first: nn.Module | None = None) -> None:
        super().__init__(
            *([] if first is None else [first]),
            nn.Linear(in_dim, out_dim),
            nn.GELU(),
            nn.LayerNorm(out_dim, eps=1e-12),
            nn.Linear(out_dim, out_dim),
        )


class StandardisedHead(nn.Module):
    """One linear map of patch tokens from which what is usual at their place was taken.

    What the place itself says is added by a map of the position table that starts at zero: a
    sentence learns where its finding may lie after it has learned what it looks like.

    Differs: the paper's head is a `ProjectionHead`; with standardised tokens its hidden layer made
    learning slower (experiments/LOG.md).

    Args:
        position: fixed position table of the encoder.
        out_dim: width of the shared space.
    """

    position: Tensor

    def __init__(self, position: Float[Tensor, "places dim"], out_dim: int) -> None:
        super().__init__()
        num_places, dim = position.shape
        self.standardise = Standardise(num_places, dim)
        self.projection = nn.Linear(dim, out_dim)
        self.place = nn.Linear(dim, out_dim, bias=False)
        nn.init.zeros_(self.place.weight)
        self.register_buffer("position", position.clone(), persistent=False)

    def forward(
        self,
        tokens: Float[Tensor, "batch patches dim"],
        places: Int[Tensor, "batch patches"] | None = None,
    ) -> Float[Tensor, "batch patches shared"]:
        """Return the embeddings of all patches of the grid, or of those in the places given."""
        position = self.position if places is None else self.position[places]
        return self.projection(self.standardise(tokens, places)) + self.place(position)


def has_words(
    sentence_of_word: Int[Tensor, "batch words"], num_sentences: int
) -> Bool[Tensor, "batch sentences"]:
    """Return which sentences have a word."""
    return _belongs(sentence_of_word, num_sentences).any(dim=-1)


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
    belongs = _belongs(sentence_of_word, num_sentences).to(words.dtype)
    counts = belongs.sum(dim=-1, keepdim=True).clamp(min=1)
    return torch.bmm(belongs / counts, words)


def _belongs(
    sentence_of_word: Int[Tensor, "batch words"], num_sentences: int
) -> Bool[Tensor, "batch sentences words"]:
    numbers = torch.arange(1, num_sentences + 1, device=sentence_of_word.device)
    return sentence_of_word[:, None, :] == numbers[None, :, None]
