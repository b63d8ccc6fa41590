"""InfoNCE between sentences and the regions they select, with three kinds of negatives.

`within_report`: the other sentences of the same report (the authors' form).
`batch`:         the other sentences of the whole batch, each with its own region.
`per_image`:     every sentence selects a region in *every* volume of the batch and must prefer
                 its own volume. Only this form cannot be solved without looking at the image:
                 the other two go to zero with a codebook of positions (method.md, section 6).

Exact duplicates (equal sentence keys) are never negatives of each other; they are left out, or
count as further positives (`duplicates_are_positives`). Padded sentences are outside of rows and
columns, so that padding a batch changes nothing.

A batch may lie in parts. `within_report` is a sum over reports, divided by a count that may be
given; the other two forms are first computed volume by volume (`select_regions`, `volume_scores`)
and then contrasted over the whole batch (`contrast_regions`, `contrast_volumes`).
"""

from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, cosine_similarity

from simcrop.objectives.alignment import (
    at_least_float32,
    pool_patches,
    region_logits,
    select_regions,
    similarity_map,
)
from simcrop.objectives.info_nce import (
    AlignmentInput,
    PerSentence,
    Said,
    average,
    count_pairs,
    info_nce,
)
from simcrop.types import Scalar


def within_report(
    inputs: AlignmentInput,
    *,
    top_k: int,
    temperature: float,
    reduction: str,
    duplicates_are_positives: bool = False,
    count: Scalar | None = None,
) -> Scalar:
    """Return the authors' loss: a report's sentences against the regions they selected.

    Both directions (sentence to region, region to sentence) are summed, not halved. Reports
    with fewer than two different sentences have no negatives and are left out of the mean.
    `count` replaces `counted_within_report` as what the sum is divided by, where a batch is
    computed in parts.

    Paper: section "Similarity-driven alignment", InfoNCE.
    """
    loss, has_pair = _sentences_against_regions(
        inputs.sentences,
        select_regions(inputs.patches, inputs.sentences, top_k, inputs.is_candidate),
        inputs.keys,
        inputs.is_valid,
        temperature,
        duplicates_are_positives,
    )
    return average(loss, has_pair, inputs.weights, reduction, count)


def counted_within_report(said: Said, reduction: str) -> Scalar:
    """Return how many reports, or sentences by weight, have a loss `within_report`."""
    _, is_negative = _pairs(said.keys, said.is_valid, duplicates_are_positives=False)
    return count_pairs(said.weights * is_negative.any(dim=2), reduction)


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
    regions = select_regions(inputs.patches, inputs.sentences, top_k, inputs.is_candidate)
    return contrast_regions(
        inputs.sentences,
        regions,
        inputs.said,
        temperature=temperature,
        reduction=reduction,
        duplicates_are_positives=duplicates_are_positives,
    )


def contrast_regions(
    sentences: Float[Tensor, "batch sentences shared"],
    regions: Float[Tensor, "batch sentences shared"],
    said: Said,
    *,
    temperature: float,
    reduction: str,
    duplicates_are_positives: bool = False,
) -> Scalar:
    """Return the loss of `batch` from the region that each sentence selected in its own volume."""
    flat = [
        rearrange(x, "b s ... -> 1 (b s) ...")
        for x in (sentences, regions, said.keys, said.is_valid)
    ]
    loss, has_pair = _sentences_against_regions(*flat, temperature, duplicates_are_positives)
    shape = said.is_valid.shape
    return average(loss.view(shape), has_pair.view(shape), said.weights, reduction)


def per_image(
    inputs: AlignmentInput,
    *,
    top_k: int,
    temperature: float,
    reduction: str,
    duplicates_are_positives: bool = False,
    whole_share: float = 0.0,
) -> Scalar:
    """Return InfoNCE where every sentence selects a region in every volume of the batch.

    Two directions are summed: a sentence must prefer its own volume to volumes whose report
    does not say the same; a volume must prefer its own sentence to sentences of other reports
    that its own does not say.
    """
    sentences = rearrange(inputs.sentences, "b s e -> (b s) e")
    return contrast_volumes(
        volume_scores(inputs.patches, sentences, top_k, inputs.is_candidate, whole_share),
        inputs.said,
        temperature=temperature,
        reduction=reduction,
        duplicates_are_positives=duplicates_are_positives,
    )


def volume_scores(
    patches: Float[Tensor, "volumes candidates shared"],
    sentences: Float[Tensor, "all_sentences shared"],
    top_k: int,
    is_candidate: Bool[Tensor, "volumes candidates"],
    whole_share: float = 0.0,
) -> Float[Tensor, "volumes all_sentences"]:
    """Return the cosine of every sentence with the region it selects in every volume.

    A share of it may be the cosine with the mean of all candidates (`alignment.whole_share`): then
    the patches that are not selected, too, have to be like what is said of their volume.
    """
    everywhere = sentences.expand(len(patches), -1, -1)
    regions = select_regions(patches, everywhere, top_k, is_candidate)
    scores = cosine_similarity(at_least_float32(everywhere), regions, dim=-1, eps=1e-8)
    if not whole_share:
        return scores
    whole = pool_patches(patches, is_candidate[:, None])
    return torch.lerp(scores, similarity_map(whole, everywhere).squeeze(-1), whole_share)


def contrast_volumes(
    scores: Float[Tensor, "batch all_sentences"],
    said: Said,
    *,
    temperature: float,
    reduction: str,
    duplicates_are_positives: bool = False,
) -> Scalar:
    """Return the loss of `per_image` from the `volume_scores` of all sentences of the batch."""
    keys, is_valid = said.keys, said.is_valid
    B, S = keys.shape
    is_own = torch.eye(B, dtype=torch.bool, device=scores.device)[:, None].expand(B, S, B)
    says = (keys[:, :, None, None] == keys[None, None]) & is_valid[None, None]
    is_said_elsewhere = says.any(dim=-1) & ~is_own
    logits = rearrange(scores / temperature, "image (b s) -> b s image", b=B)
    is_negative = ~is_own & ~is_said_elsewhere & is_valid[:, :, None]
    own_logits = torch.diagonal(logits, dim1=0, dim2=2).mT
    if duplicates_are_positives:
        is_positive = (is_own | is_said_elsewhere) & is_valid[:, :, None]
        own_logits = _all_who_say_so(own_logits, logits, keys, is_valid)
    else:
        is_positive = is_own & is_valid[:, :, None]
    to_image = info_nce(logits, is_positive, is_negative)
    to_sentence = _own_sentence_against_others(own_logits, logits, is_negative)
    return average(to_image + to_sentence, is_negative.any(dim=2), said.weights, reduction)


def _pairs(
    keys: Int[Tensor, "batch sentences"],
    is_valid: Bool[Tensor, "batch sentences"],
    duplicates_are_positives: bool,
) -> tuple[Bool[Tensor, "batch sentences sentences"], Bool[Tensor, "batch sentences sentences"]]:
    """Return which sentences of a row are positives and which are negatives of each other."""
    is_pair = is_valid[:, :, None] & is_valid[:, None, :]
    is_same = keys[:, :, None] == keys[:, None, :]
    is_own = torch.eye(keys.shape[1], dtype=torch.bool, device=keys.device)
    return is_pair & (is_same if duplicates_are_positives else is_own), is_pair & ~is_same


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
    is_positive, is_negative = _pairs(keys, is_valid, duplicates_are_positives)
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
