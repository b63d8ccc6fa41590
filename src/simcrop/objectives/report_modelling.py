"""The masked-report objective: cross-entropy of the words that were hidden.

Paper: multi-modal masked modelling, report reconstruction loss.
"""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from simcrop.objectives.alignment import at_least_float32
from simcrop.types import Scalar, WordMask


def counted_words(
    is_masked: WordMask,
    is_valid: WordMask,
    positions: str = "masked",
) -> WordMask:
    """Return which words enter the loss: the hidden ones, or every real one.

    Differs: the authors' lineage averages over padding as well; `positions="all"` is their
    form without the padding.

    Raises:
        ValueError: if `positions` is neither "masked" nor "all".
    """
    if positions == "masked":
        return is_masked & is_valid
    if positions == "all":
        return is_valid
    raise ValueError(f"positions {positions!r}; expected 'masked' or 'all'")


def report_loss(
    word_logits: Float[Tensor, "counted vocabulary"],
    words: Int[Tensor, " counted"],
    count: Scalar | None = None,
) -> Scalar:
    """Return the mean cross-entropy in nat over the counted words; 0 where there is none.

    `count` replaces the number of words as what the sum is divided by, where a batch is computed
    in parts.
    """
    if not len(words):
        return word_logits.sum() * 0
    if count is None:
        return F.cross_entropy(at_least_float32(word_logits), words)
    return F.cross_entropy(at_least_float32(word_logits), words, reduction="sum") / count
