"""InfoNCE between sentences and the regions they select, with three kinds of negatives.

`within_report`: the other sentences of the same report (the authors' form).
`batch`:         the other sentences of the whole batch, each with its own region.
`per_image`:     every sentence selects a region in *every* volume of the batch and must prefer
                 its own volume. Only this form cannot be solved without looking at the image:
                 the other two go to zero with a codebook of positions (method.md, section 6).

Exact duplicates (equal sentence keys) are never negatives of each other; they are left out, or
count as further positives (`duplicates_are_positives`). Padded sentences are outside of rows and
columns, so that padding a batch changes nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, cosine_similarity

from simcrop.objectives.alignment import (
    at_least_float32,
    pool_patches,
    region_logits,
    select_top_k,
    similarity_map,
)
from simcrop.types import Scalar

PerSentence = Float[Tensor, "batch sentences"]


@dataclass(frozen=True)
class AlignmentInput:
    """What the alignment compares, for a batch of volumes with their findings.

    Attributes:
        patches: patch embeddings, not yet of unit length.
        sentences: sentence embeddings, not yet of unit length.
        is_candidate: False for patches that no sentence may select (air, padding).
        keys: equal for sentences that say exactly the same.
        is_valid: False for padded sentences.
        weights: weight of each sentence in the average; 1 in the paper's form.
    """

    patches: Float[Tensor, "batch candidates shared"]
    sentences: Float[Tensor, "batch sentences shared"]
    is_candidate: Bool[Tensor, "batch candidates"]
    keys: Int[Tensor, "batch sentences"]
    is_valid: Bool[Tensor, "batch sentences"]
    weights: PerSentence


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


def _average(
    loss: PerSentence,
    has_pair: Bool[Tensor, "batch sentences"],
    weights: PerSentence,
    reduction: str,
) -> Scalar:
    """Average over sentences: within each report first ("report") or all at once ("sentence").

    Sentences without a pair and those of weight 0 are left out, and so are reports that have no
    other.
    """
    weights = weights * has_pair
    if reduction == "sentence":
        return (loss * weights).sum() / weights.sum().clamp(min=1e-12)
    per_report = (loss * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-12)
    return per_report.sum() / weights.any(dim=1).sum().clamp(min=1)


def within_report(
    inputs: AlignmentInput,
    *,
    top_k: int,
    temperature: float,
    reduction: str,
    duplicates_are_positives: bool = False,
) -> Scalar:
    """Return the authors' loss: a report's sentences against the regions they selected.

    Both directions (sentence to region, region to sentence) are summed, not halved. Reports
    with fewer than two different sentences have no negatives and are left out of the mean.

    Paper: section "Similarity-driven alignment", InfoNCE.
    """
    loss, has_pair = _sentences_against_regions(
        inputs.sentences,
        _select_regions(inputs, inputs.sentences, top_k),
        inputs.keys,
        inputs.is_valid,
        temperature,
        duplicates_are_positives,
    )
    return _average(loss, has_pair, inputs.weights, reduction)


def batch(
    inputs: AlignmentInput,
    *,
    top_k: int,
    temperature: float,
    reduction: str,
    duplicates_are_positives: bool = False,
) -> Scalar:
    """Return InfoNCE of all sentences of the batch against all regions of the batch.

    As `within_report`, with the batch's other sentences as further negatives.
    """
    regions = _select_regions(inputs, inputs.sentences, top_k)
    flat = [
        rearrange(x, "b s ... -> 1 (b s) ...")
        for x in (inputs.sentences, regions, inputs.keys, inputs.is_valid)
    ]
    loss, has_pair = _sentences_against_regions(*flat, temperature, duplicates_are_positives)
    shape = inputs.is_valid.shape
    return _average(loss.view(shape), has_pair.view(shape), inputs.weights, reduction)


def per_image(
    inputs: AlignmentInput,
    *,
    top_k: int,
    temperature: float,
    reduction: str,
    duplicates_are_positives: bool = False,
) -> Scalar:
    """Return InfoNCE where every sentence selects a region in every volume of the batch.

    Two directions are summed: a sentence must prefer its own volume to volumes whose report
    does not say the same; a volume must prefer its own sentence to sentences of other reports
    that its own does not say.
    """
    B, S, _ = inputs.sentences.shape
    keys, is_valid = inputs.keys, inputs.is_valid
    all_sentences = rearrange(inputs.sentences, "b s e -> 1 (b s) e").expand(B, -1, -1)
    regions = _select_regions(inputs, all_sentences, top_k)
    logits = cosine_similarity(at_least_float32(all_sentences), regions, dim=-1, eps=1e-8)
    is_own = torch.eye(B, dtype=torch.bool, device=logits.device)[:, None].expand(B, S, B)
    says = (keys[:, :, None, None] == keys[None, None]) & is_valid[None, None]
    is_said_elsewhere = says.any(dim=-1) & ~is_own
    logits = rearrange(logits / temperature, "image (b s) -> b s image", b=B)
    is_negative = ~is_own & ~is_said_elsewhere & is_valid[:, :, None]
    own_logits = torch.diagonal(logits, dim1=0, dim2=2).mT
    if duplicates_are_positives:
        is_positive = (is_own | is_said_elsewhere) & is_valid[:, :, None]
        own_logits = _all_who_say_so(own_logits, logits, keys, is_valid)
    else:
        is_positive = is_own & is_valid[:, :, None]
    to_image = info_nce(logits, is_positive, is_negative)
    to_sentence = _own_sentence_against_others(own_logits, logits, is_negative)
    return _average(to_image + to_sentence, is_negative.any(dim=2), inputs.weights, reduction)


def _select_regions(
    inputs: AlignmentInput, sentences: Float[Tensor, "batch any_sentences shared"], top_k: int
) -> Float[Tensor, "batch any_sentences shared"]:
    """Return the region that each sentence selects in the volume of its row."""
    similarity = similarity_map(inputs.patches, sentences)
    return pool_patches(inputs.patches, select_top_k(similarity, top_k, inputs.is_candidate))


def _sentences_against_regions(
    sentences: Float[Tensor, "batch sentences shared"],
    regions: Float[Tensor, "batch sentences shared"],
    keys: Int[Tensor, "batch sentences"],
    is_valid: Bool[Tensor, "batch sentences"],
    temperature: float,
    duplicates_are_positives: bool,
) -> tuple[PerSentence, Bool[Tensor, "batch sentences"]]:
    """Return InfoNCE summed over both directions, and which sentences have a negative."""
    logits = region_logits(sentences, regions, temperature)
    is_pair = is_valid[:, :, None] & is_valid[:, None, :]
    is_same = keys[:, :, None] == keys[:, None, :]
    is_own = torch.eye(logits.shape[1], dtype=torch.bool, device=logits.device)
    is_positive = is_pair & (is_same if duplicates_are_positives else is_own)
    is_negative = is_pair & ~is_same
    loss = info_nce(logits, is_positive, is_negative)
    loss = loss + info_nce(logits.mT, is_positive, is_negative)
    return loss, is_negative.any(dim=2)


def _all_who_say_so(
    own_logits: PerSentence,
    logits: Float[Tensor, "batch sentences image"],
    keys: Int[Tensor, "batch sentences"],
    is_valid: Bool[Tensor, "batch sentences"],
) -> PerSentence:
    """Add to each sentence, in its own volume, every equal sentence of the batch (log-sum-exp)."""
    is_same = (keys[:, :, None, None] == keys[None, None]) & is_valid[None, None]
    is_same |= torch.eye(keys.numel(), dtype=torch.bool, device=keys.device).view(is_same.shape)
    in_own_volume = rearrange(logits, "b s image -> image 1 (b s)")
    is_same = rearrange(is_same, "image j b s -> image j (b s)")
    lowest = torch.finfo(logits.dtype).min
    return in_own_volume.masked_fill(~is_same, lowest).logsumexp(dim=-1)


def _own_sentence_against_others(
    own_logits: PerSentence,
    logits: Float[Tensor, "batch sentences image"],
    is_negative: Bool[Tensor, "batch sentences image"],
) -> PerSentence:
    """Score each sentence in its own volume against the other reports' sentences there."""
    others = rearrange(
        logits.masked_fill(~is_negative, torch.finfo(logits.dtype).min), "b s image -> image (b s)"
    ).logsumexp(dim=1)
    has_others = rearrange(is_negative, "b s image -> image (b s)").any(dim=1)
    loss = torch.logaddexp(own_logits, others[:, None]) - own_logits
    return torch.where(has_others[:, None], loss, torch.zeros_like(loss))


NEGATIVES: dict[str, Callable[..., Scalar]] = {
    "within_report": within_report,
    "batch": batch,
    "per_image": per_image,
}
