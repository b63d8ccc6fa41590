"""What the kinds of negatives share: their input, InfoNCE itself, the average over sentences."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from simcrop.types import Scalar

PerSentence = Float[Tensor, "batch sentences"]


@dataclass(frozen=True)
class Said:
    """What the reports of a batch say, sentence by sentence.

    Attributes:
        keys: equal for sentences that say exactly the same.
        is_valid: False for padded sentences.
        weights: weight of each sentence in the average; 1 in the paper's form.
    """

    keys: Int[Tensor, "batch sentences"]
    is_valid: Bool[Tensor, "batch sentences"]
    weights: PerSentence


@dataclass(frozen=True)
class AlignmentInput:
    """What the alignment compares, for a batch of volumes with their findings.

    Attributes:
        patches: patch embeddings, not yet of unit length.
        sentences: sentence embeddings, not yet of unit length.
        is_candidate: False for patches that no sentence may select (air, padding).
        keys, is_valid, weights: see `Said`.
    """

    patches: Float[Tensor, "batch candidates shared"]
    sentences: Float[Tensor, "batch sentences shared"]
    is_candidate: Bool[Tensor, "batch candidates"]
    keys: Int[Tensor, "batch sentences"]
    is_valid: Bool[Tensor, "batch sentences"]
    weights: PerSentence

    @property
    def said(self) -> Said:
        """What the reports say."""
        return Said(self.keys, self.is_valid, self.weights)


def info_nce(
    logits: Float[Tensor, "*batch anchors others"],
    is_positive: Bool[Tensor, "*batch anchors others"],
    is_negative: Bool[Tensor, "*batch anchors others"],
) -> Float[Tensor, "*batch anchors"]:
    """Return -log(positives / (positives + negatives)) for every anchor; 0 without a pair.

    Several positives share the numerator: one that fits is enough. Columns that are neither
    positive nor negative are left out of the denominator. An anchor without a positive, or
    without a negative, has loss 0 and gradient 0.
    """
    has_pair = is_positive.any(dim=-1) & is_negative.any(dim=-1)
    lowest = torch.finfo(logits.dtype).min
    positive = logits.masked_fill(~is_positive, lowest).logsumexp(dim=-1)
    both = logits.masked_fill(~(is_positive | is_negative), lowest).logsumexp(dim=-1)
    return torch.where(has_pair, both - positive, logits.new_zeros(()))


def average(
    loss: PerSentence,
    has_pair: Bool[Tensor, "batch sentences"],
    weights: PerSentence,
    reduction: str,
    count: Scalar | None = None,
) -> Scalar:
    """Average over sentences: within each report first ("report") or all at once ("sentence").

    Sentences without a pair and those of weight 0 are left out, and so are reports that have no
    other. `count`, where given, replaces `count_pairs`.
    """
    weights = weights * has_pair
    if count is None:
        count = count_pairs(weights, reduction).clamp(min=1e-12)
    if reduction == "sentence":
        return (loss * weights).sum() / count
    per_report = (loss * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-12)
    return per_report.sum() / count


def count_pairs(weights: PerSentence, reduction: str) -> Scalar:
    """Return the weight of all sentences ("sentence"), or how many reports have some ("report")."""
    if reduction == "sentence":
        return weights.sum()
    return weights.any(dim=1).sum().to(weights.dtype)
