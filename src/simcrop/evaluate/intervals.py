"""How sure a figure is: expanded percentile intervals from a bootstrap over patients.

Studies of one patient are not independent, so patients are drawn, never studies. A resample is
a row of weights (how often each study was drawn), which turns a thousand AUROCs into one
cumulative sum. Two encoders are compared on the same resamples.

A resample that lacks a class says nothing about that label: it is left out of the label's
interval and of the mean's, and `Interval.num_resamples` says how many remain. Where a figure hangs
on a single patient there is no interval: its ends are nan. `levels` says which quantiles are taken.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int, Shaped

from simcrop.evaluate.classification import auroc
from simcrop.evaluate.levels import Support

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Interval:
    """A figure, the ends of its 95 % interval and the number of resamples behind them."""

    value: float
    low: float
    high: float
    num_resamples: int

    def to_dict(self) -> dict[str, float | int | None]:
        """Return plain values for JSON; nan, which JSON does not know, becomes None."""
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in asdict(self).items()
        }


@dataclass(frozen=True)
class LabelIntervals:
    """One interval per label, in the order of the labels, and one of their mean.

    The mean is over the labels that have a value.
    """

    per_label: tuple[Interval, ...]
    mean: Interval

    @property
    def num_scored(self) -> int:
        """Number of labels that have a value, those behind the mean."""
        return sum(not math.isnan(interval.value) for interval in self.per_label)

    def to_dict(self, label_names: Sequence[str]) -> dict[str, object]:
        """Return plain values for JSON, with the labels by name."""
        named = zip(label_names, self.per_label, strict=True)
        return {
            "mean": self.mean.to_dict(),
            "num_scored": self.num_scored,
            "labels": {name: interval.to_dict() for name, interval in named},
        }


def resample_patients(
    patient_ids: Sequence[str], *, num_resamples: int, seed: int
) -> Float[np.ndarray, "resamples studies"]:
    """Return how often each study occurs in every resample of the patients.

    All studies of a patient share a weight. The same ids and seed give the same resamples.
    """
    _, patient_of_study = np.unique(np.asarray(patient_ids), return_inverse=True)
    P = int(patient_of_study.max()) + 1
    draws = np.random.default_rng(seed).integers(P, size=(num_resamples, P))
    draws += P * np.arange(num_resamples)[:, None]
    counts = np.bincount(draws.ravel(), minlength=num_resamples * P).reshape(num_resamples, P)
    return counts[:, patient_of_study].astype(float)


def weighted_auroc(
    scores: Float[np.ndarray, " studies"],
    labels: Shaped[np.ndarray, " studies"],
    weights: Float[np.ndarray, "resamples studies"],
) -> Float[np.ndarray, " resamples"]:
    """Return the AUROC of every row of weights; nan where a class has no weight.

    Equals `auroc` on the studies repeated as often as their weight says.
    """
    is_positive = labels.astype(bool)
    order = np.argsort(scores[~is_positive], kind="stable")
    negatives, positives = scores[~is_positive][order], scores[is_positive]
    positive_weights = weights[:, is_positive]
    weight_below = np.zeros((len(weights), len(negatives) + 1))
    np.cumsum(weights[:, ~is_positive][:, order], axis=1, out=weight_below[:, 1:])
    below = weight_below[:, np.searchsorted(negatives, positives, side="left")]
    not_above = weight_below[:, np.searchsorted(negatives, positives, side="right")]
    won = np.einsum("rp,rp->r", positive_weights, below + not_above) / 2
    pairs = positive_weights.sum(axis=1) * weight_below[:, -1]
    return np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0)


def weighted_average_precision(
    scores: Float[np.ndarray, " studies"],
    labels: Shaped[np.ndarray, " studies"],
    weights: Float[np.ndarray, "resamples studies"],
) -> Float[np.ndarray, " resamples"]:
    """Return the average precision of every row of weights; nan without a positive study.

    Equals `average_precision` on the studies repeated as often as their weight says.
    """
    order = np.argsort(-scores, kind="stable")
    descending, is_positive = -scores[order], labels[order].astype(bool)
    ordered = weights[:, order]
    positives = ordered[:, is_positive]
    threshold = descending[is_positive]
    last = np.searchsorted(descending, threshold, side="right") - 1
    last_positive = np.searchsorted(threshold, threshold, side="right") - 1
    taken = np.cumsum(ordered, axis=1)[:, last]
    true = np.cumsum(positives, axis=1)[:, last_positive]
    precision = np.divide(true, taken, out=np.zeros_like(true), where=taken > 0)
    total = positives.sum(axis=1)
    summed = (positives * precision).sum(axis=1)
    return np.divide(summed, total, out=np.full(len(weights), np.nan), where=total > 0)


def auroc_intervals(
    scores: Float[np.ndarray, "studies labels"],
    labels: Shaped[np.ndarray, "studies labels"],
    patient_ids: Sequence[str],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> LabelIntervals:
    """Return the AUROC of every label and their mean, with intervals over patients."""
    weights = resample_patients(patient_ids, num_resamples=num_resamples, seed=seed)
    return summarise(
        _aurocs(scores, labels),
        resampled_aurocs(scores, labels, weights),
        Support.of_classes(labels, patient_ids),
    )


def auroc_differences(
    scores: Float[np.ndarray, "studies labels"],
    other_scores: Float[np.ndarray, "studies labels"],
    labels: Shaped[np.ndarray, "studies labels"],
    patient_ids: Sequence[str],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> LabelIntervals:
    """Return AUROC of `scores` minus AUROC of `other_scores`, paired on the same resamples.

    The two differ at the 5 % level when an interval does not hold 0.
    """
    weights = resample_patients(patient_ids, num_resamples=num_resamples, seed=seed)
    values = _aurocs(scores, labels) - _aurocs(other_scores, labels)
    resampled = resampled_aurocs(scores, labels, weights)
    resampled -= resampled_aurocs(other_scores, labels, weights)
    return summarise(values, resampled, Support.of_classes(labels, patient_ids))


def auroc_over_seeds(
    runs: Sequence[Float[np.ndarray, "studies labels"]],
    labels: Shaped[np.ndarray, "studies labels"],
    patient_ids: Sequence[str],
    *,
    minus: Sequence[Float[np.ndarray, "studies labels"]] = (),
    num_resamples: int = 1000,
    seed: int = 0,
) -> LabelIntervals:
    """Return the mean AUROC of runs that differ by their seeds, on the same resamples.

    With `minus`, the mean AUROC of those runs is taken off, paired. The intervals are over test
    patients; how much the seeds scatter is a second matter, which they do not hold.
    """
    weights = resample_patients(patient_ids, num_resamples=num_resamples, seed=seed)
    values, resampled = np.zeros(labels.shape[1]), np.zeros((num_resamples, labels.shape[1]))
    for sign, some in ((1, runs), (-1, minus)):
        for scores in some:
            values += sign * _aurocs(scores, labels) / len(some)
            resampled += sign * resampled_aurocs(scores, labels, weights) / len(some)
    return summarise(values, resampled, Support.of_classes(labels, patient_ids))


def mean_intervals(
    values: Float[np.ndarray, " items"],
    label_of_item: Int[np.ndarray, " items"],
    num_labels: int,
    patient_ids: Sequence[str],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> LabelIntervals:
    """Return the mean value of every label's items, and the mean over labels, with intervals.

    An item is a sentence, say, and its value a hit (0 or 1). A nan value is left out.
    """
    return means_intervals(
        {"": values}, label_of_item, num_labels, patient_ids, num_resamples=num_resamples, seed=seed
    )[""]


def means_intervals(
    columns: Mapping[Key, Float[np.ndarray, " items"]],
    label_of_item: Int[np.ndarray, " items"],
    num_labels: int,
    patient_ids: Sequence[str],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> dict[Key, LabelIntervals]:
    """Return `mean_intervals` of several figures of the same items, on the same resamples."""
    patients, patient_of_item = np.unique(np.asarray(patient_ids), return_inverse=True)
    weights = resample_patients(patients.tolist(), num_resamples=num_resamples, seed=seed)
    cell = patient_of_item * num_labels + label_of_item
    shape = (len(patients), num_labels)

    def per_patient(values: np.ndarray) -> np.ndarray:
        return np.bincount(cell, values, minlength=len(patients) * num_labels).reshape(shape)

    results, last = {}, (np.empty(0), np.empty((0, num_labels)), np.empty(0))
    for name, values in columns.items():
        is_there = ~np.isnan(values)
        if not np.array_equal(is_there, last[0]):  # counts cost as much as sums and rarely differ
            counts = per_patient(is_there.astype(float))
            last = is_there, counts, weights @ counts
        sums = per_patient(np.nan_to_num(values))
        results[name] = summarise(
            _ratio(sums.sum(axis=0), last[1].sum(axis=0)),
            _ratio(weights @ sums, last[2]),
            Support.of_sample((last[1] > 0).sum(axis=0), len(patients)),
        )
    return results


def _aurocs(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.array([auroc(s, y) for s, y in zip(scores.T, labels.T, strict=True)])


def resampled_aurocs(
    scores: Float[np.ndarray, "studies labels"],
    labels: Shaped[np.ndarray, "studies labels"],
    weights: Float[np.ndarray, "resamples studies"],
) -> Float[np.ndarray, "resamples labels"]:
    """Return `weighted_auroc` of every label."""
    columns = zip(scores.T, labels.T, strict=True)
    return np.stack([weighted_auroc(s, y, weights) for s, y in columns], axis=1)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    missing = np.full(numerator.shape, np.nan)
    return np.divide(numerator, denominator, out=missing, where=denominator > 0)


def summarise(
    values: Float[np.ndarray, " labels"],
    resampled: Float[np.ndarray, "resamples labels"],
    support: Support,
) -> LabelIntervals:
    """Join figures with the quantiles of their resamples.

    A resample that misses a scored label leaves the mean's interval too.

    Args:
        values: the figures.
        resampled: the same of every resample of the patients.
        support: what the figures hang on; with one patient there is no interval.
    """
    table = np.vstack([values, resampled])
    is_scored = ~np.isnan(values)
    means = table[:, is_scored].mean(axis=1) if is_scored.any() else np.full(len(table), np.nan)
    levels = (*support.levels(), *support.of_mean(is_scored).levels())
    columns = zip((*table.T, means), levels, strict=True)
    *per_label, mean = (_interval(column[0], column[1:], both) for column, both in columns)
    return LabelIntervals(tuple(per_label), mean)


def _interval(value: float, resampled: np.ndarray, levels: np.ndarray) -> Interval:
    kept = resampled[~np.isnan(resampled)]
    if math.isnan(value) or np.isnan(levels).any() or not len(kept):
        return Interval(float(value), math.nan, math.nan, 0)
    low, high = np.quantile(kept, levels)
    return Interval(float(value), float(low), float(high), len(kept))
