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


def minus_log_share(positive: Tensor, negatives: list[Tensor]) -> Tensor:
    """-log( exp(positive) / (exp(positive) + sum exp(negatives)) )."""
    total = positive.exp()
    for negative in negatives:
        total = total + negative.exp()
    return -(positive.exp() / total).log()


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


def _contrast(inputs, top_k: int, temperature: float, reduction: str, in_pool: IsInPool) -> Tensor:
    """Both directions of InfoNCE; the negatives of a sentence are those in its pool."""
    everyone = valid_sentences(inputs)
    regions = {place: region_of(inputs, place, place[0], top_k) for place in everyone}

    def logit(sentence: Sentence, other: Sentence) -> Tensor:
        return cosine(inputs.sentences[sentence], regions[other]) / temperature

    losses = {}
    for one in everyone:
        negatives = [k for k in everyone if in_pool(one, k) and not says_the_same(inputs, one, k)]
        if negatives:
            own = logit(one, one)
            to_region = minus_log_share(own, [logit(one, k) for k in negatives])
            to_sentence = minus_log_share(own, [logit(k, one) for k in negatives])
            losses[one] = to_region + to_sentence
    return weighted_mean(losses, inputs, reduction)


def within_report(inputs, *, top_k: int, temperature: float, reduction: str) -> Tensor:
    return _contrast(inputs, top_k, temperature, reduction, lambda one, k: one[0] == k[0])


def batch(inputs, *, top_k: int, temperature: float, reduction: str) -> Tensor:
    return _contrast(inputs, top_k, temperature, reduction, lambda one, k: True)


def per_image(inputs, *, top_k: int, temperature: float, reduction: str) -> Tensor:
    """Every sentence selects in every image and must prefer its own; images likewise."""
    everyone, images = valid_sentences(inputs), range(len(inputs.patches))

    def logit(sentence: Sentence, image: int) -> Tensor:
        chosen = region_of(inputs, sentence, image, top_k)
        return cosine(inputs.sentences[sentence], chosen) / temperature

    def is_said(sentence: Sentence, image: int) -> bool:
        return any(says_the_same(inputs, sentence, k) for k in everyone if k[0] == image)

    losses = {}
    for one in everyone:
        own = logit(one, one[0])
        other_images = [c for c in images if not is_said(one, c)]
        if not other_images:
            continue
        to_image = minus_log_share(own, [logit(one, c) for c in other_images])
        strangers = [k for k in everyone if not is_said(k, one[0])]
        to_sentence = minus_log_share(own, [logit(k, one[0]) for k in strangers])
        losses[one] = to_image + to_sentence
    return weighted_mean(losses, inputs, reduction)


NEGATIVES = {"within_report": within_report, "batch": batch, "per_image": per_image}
