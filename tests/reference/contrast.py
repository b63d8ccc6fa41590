"""InfoNCE of sentences and regions with its three kinds of negatives, one anchor at a time.

A sentence is a pair (b, j): report b, place j. `weighted_mean` is the average of design question
D-10: over the sentences of a report first, then over the reports that have any.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from reference.alignment import cosine, region

Sentence = tuple[int, int]
IsInPool = Callable[[Sentence, Sentence], bool]


def minus_log_share(positives: list[Tensor], negatives: list[Tensor]) -> Tensor:
    """-log( sum exp(positives) / (sum exp(positives) + sum exp(negatives)) )."""
    share = sum(positive.exp() for positive in positives)
    total = share + sum(negative.exp() for negative in negatives)
    return -(share / total).log()


def valid_sentences(inputs) -> list[Sentence]:
    B, S = inputs.is_valid.shape
    return [(b, j) for b in range(B) for j in range(S) if inputs.is_valid[b, j]]


def says_the_same(inputs, one: Sentence, other: Sentence) -> bool:
    return inputs.keys[one].item() == inputs.keys[other].item()


def region_of(inputs, sentence: Sentence, image: int, top_k: int) -> Tensor:
    candidates = inputs.is_candidate[image].tolist()
    return region(inputs.sentences[sentence], inputs.patches[image], top_k, candidates)


def weighted_mean(losses: dict[Sentence, Tensor], inputs, reduction: str) -> Tensor:
    """Average the losses of the sentences that have a negative; 0 where there are none."""
    groups = [list(losses)]
    if reduction == "report":
        reports = range(len(inputs.is_valid))
        groups = [[place for place in losses if place[0] == b] for b in reports]
    means = []
    for places in groups:
        weight = sum(inputs.weights[place].item() for place in places)
        if weight > 0:
            means.append(sum(losses[p] * inputs.weights[p] for p in places) / weight)
    return sum(means) / len(means) if means else torch.zeros((), dtype=torch.float64)


def _contrast(
    inputs,
    top_k: int,
    temperature: float,
    reduction: str,
    in_pool: IsInPool,
    duplicates_are_positives: bool,
) -> Tensor:
    """Both directions of InfoNCE; the negatives of a sentence are those in its pool."""
    everyone = valid_sentences(inputs)
    regions = {place: region_of(inputs, place, place[0], top_k) for place in everyone}

    def logit(sentence: Sentence, other: Sentence) -> Tensor:
        return cosine(inputs.sentences[sentence], regions[other]) / temperature

    losses = {}
    for one in everyone:
        negatives = [k for k in everyone if in_pool(one, k) and not says_the_same(inputs, one, k)]
        if negatives:
            twins = [k for k in everyone if in_pool(one, k) and says_the_same(inputs, one, k)]
            own = twins if duplicates_are_positives else [one]
            to_region = minus_log_share(
                [logit(one, k) for k in own], [logit(one, k) for k in negatives]
            )
            to_sentence = minus_log_share(
                [logit(k, one) for k in own], [logit(k, one) for k in negatives]
            )
            losses[one] = to_region + to_sentence
    return weighted_mean(losses, inputs, reduction)


def within_report(
    inputs, *, top_k: int, temperature: float, reduction: str, duplicates_are_positives=False
) -> Tensor:
    def same_report(one, other):
        return one[0] == other[0]

    return _contrast(inputs, top_k, temperature, reduction, same_report, duplicates_are_positives)


def batch(
    inputs, *, top_k: int, temperature: float, reduction: str, duplicates_are_positives=False
) -> Tensor:
    def anyone(one, other):
        return True

    return _contrast(inputs, top_k, temperature, reduction, anyone, duplicates_are_positives)


def per_image(
    inputs,
    *,
    top_k: int,
    temperature: float,
    reduction: str,
    duplicates_are_positives=False,
    whole_share=0.0,
) -> Tensor:
    """Every sentence selects in every image and must prefer its own; images likewise."""
    everyone, images = valid_sentences(inputs), range(len(inputs.patches))

    def logit(sentence: Sentence, image: int) -> Tensor:
        own = inputs.sentences[sentence]
        of_region = cosine(own, region_of(inputs, sentence, image, top_k))
        candidates = inputs.patches[image][inputs.is_candidate[image]]
        of_whole = cosine(own, candidates.mean(dim=0)) if len(candidates) else 0.0
        return ((1 - whole_share) * of_region + whole_share * of_whole) / temperature

    def is_said(sentence: Sentence, image: int) -> bool:
        return any(says_the_same(inputs, sentence, k) for k in everyone if k[0] == image)

    losses = {}
    for one in everyone:
        other_images = [c for c in images if not is_said(one, c)]
        if not other_images:
            continue
        own_images, own_sentences = [one[0]], [one]
        if duplicates_are_positives:
            own_images = [c for c in images if is_said(one, c)]
            own_sentences = [k for k in everyone if says_the_same(inputs, one, k)]
        to_image = minus_log_share(
            [logit(one, c) for c in own_images], [logit(one, c) for c in other_images]
        )
        strangers = [k for k in everyone if not is_said(k, one[0])]
        to_sentence = minus_log_share(
            [logit(k, one[0]) for k in own_sentences], [logit(k, one[0]) for k in strangers]
        )
        losses[one] = to_image + to_sentence
    return weighted_mean(losses, inputs, reduction)


NEGATIVES = {"within_report": within_report, "batch": batch, "per_image": per_image}
