"""How well scores separate findings: AUROC and average precision, of scores and 0/1 labels."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from sklearn.metrics import average_precision_score


def auroc(scores: Float[np.ndarray, " studies"], labels: Shaped[np.ndarray, " studies"]) -> float:
    """Return the chance that a positive study scores above a negative one, ties counting half.

    The rank formula with average ranks; nan when one of the classes is absent.

    Raises:
        ValueError: if a score is not finite or a label is neither 0 nor 1.
    """
    is_positive = _checked(scores, labels)
    positives, negatives = scores[is_positive], np.sort(scores[~is_positive])
    if not len(positives) or not len(negatives):
        return math.nan
    num_below = np.searchsorted(negatives, positives, side="left")
    num_not_above = np.searchsorted(negatives, positives, side="right")
    return float((num_below + num_not_above).mean() / (2 * len(negatives)))


class MeanAuroc(NamedTuple):
    """The macro mean and how many labels it is over."""

    value: float
    num_scored: int


def mean_auroc(
    scores: Float[np.ndarray, "studies labels"], labels: Shaped[np.ndarray, "studies labels"]
) -> MeanAuroc:
    """Return the mean AUROC over the labels that have both classes; nan when there is none."""
    values = [auroc(s, y) for s, y in zip(scores.T, labels.T, strict=True)]
    scored = [value for value in values if not math.isnan(value)]
    return MeanAuroc(float(np.mean(scored)) if scored else math.nan, len(scored))


def average_precision(
    scores: Float[np.ndarray, " studies"], labels: Shaped[np.ndarray, " studies"]
) -> float:
    """Return the average precision; nan without a positive study.

    Its chance level is the prevalence, so print `labels.mean()` beside it.

    Raises:
        ValueError: as for `auroc`.
    """
    is_positive = _checked(scores, labels)
    return float(average_precision_score(is_positive, scores)) if is_positive.any() else math.nan


def _checked(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} of {scores.size} scores are not finite")
    return _as_bool(labels)


def _as_bool(labels: np.ndarray) -> np.ndarray:
    values = np.unique(labels)
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"labels hold {values[:5].tolist()}; expected only 0 and 1")
    return labels.astype(bool)
