"""Figures over several seeds: how much is the method, how much chance of network and patients.

A method is run once per seed and measured on the same items each time. Its figure is the mean
over seeds, with an interval for other patients and other seeds. Two methods are compared seed by
seed on the same resamples of the same patients, since the same seed gave both the same order of
the data.

Two distances from the figure are joined as legs of a right-angled triangle (MOVER: Zou and Donner,
Construction of Confidence Limits about Effect Measures, Statistics in Medicine 27, 2008):

    patients    to the quantiles of resampled patients, of what moves all seeds alike
    seeds       t * deviation / sqrt(n) of the n seeds, t with n - 1 degrees of freedom

The deviation of the seeds holds what patients move in one seed and not in another, which is why
the first leg holds the rest alone. No end is nearer than that of the interval over patients with
the seeds as they are, and one seed has that interval.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from simcrop.evaluate.intervals import (
    Interval,
    resample_patients,
    summarise,
    weighted_auroc,
)
from simcrop.evaluate.items import Items
from simcrop.evaluate.levels import CONFIDENCE

NUM_RESAMPLES = 1000


def mean_over_seeds(
    runs: Mapping[int, Items], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Interval:
    """Return the mean over labels and seeds, with an interval over patients and seeds.

    The interval stays in [0, 1] for an AUROC, else in the range of the values, as resamples do.

    Args:
        runs: the same items by the seed of the run.
        num_resamples: of patients.
        seed: of the resampling.

    Raises:
        ValueError: if there is no run, or the runs are not of the same items.
    """
    found = _over_seeds(_table(runs, num_resamples, seed), _any_of(runs))
    low, high = np.clip((found.low, found.high), *_range_of(runs)).tolist()
    return replace(found, low=low, high=high)


def difference_over_seeds(
    runs: Mapping[int, Items],
    others: Mapping[int, Items],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the mean of `runs` minus that of `others`, paired by seed and patient.

    Only seeds that both have are counted.

    Raises:
        ValueError: if no seed is in both, or the items differ.
    """
    shared = sorted(runs.keys() & others.keys())
    if not shared:
        raise ValueError(f"seeds {sorted(runs)} and {sorted(others)} have none in common")
    if runs[shared[0]].hash != others[shared[0]].hash:
        raise ValueError("the two were measured on different items")
    table = _table({s: runs[s] for s in shared}, num_resamples, seed)
    table -= _table({s: others[s] for s in shared}, num_resamples, seed)
    return _over_seeds(table, _any_of(runs))


def mean_of_labels(
    items: Items, weights: Float[np.ndarray, "resamples items"]
) -> Float[np.ndarray, " resamples"]:
    """Return the mean over labels of AUROC or mean value, for every row of weights.

    Labels without both classes, or without an item, are left out where the whole set lacks them;
    a resample that lacks a label which the set has is nan.
    """
    columns = []
    for number, values in enumerate(items.values.T):
        if items.truth is not None:
            figure = weighted_auroc(values, items.truth[:, number], weights)
        else:
            has_value = ~np.isnan(values)
            counts = weights[:, has_value].sum(axis=1)
            sums = weights[:, has_value] @ values[has_value]
            missing = np.full(len(weights), np.nan)
            figure = np.divide(sums, counts, out=missing, where=counts > 0)
        if not np.isnan(figure[0]):
            columns.append(figure)
    return np.mean(columns, axis=0) if columns else np.full(len(weights), np.nan)


def _table(
    runs: Mapping[int, Items], num_resamples: int, seed: int
) -> Float[np.ndarray, "seeds one_and_resamples"]:
    """Return the figure of every seed, then that of each resample of the patients."""
    if not runs:
        raise ValueError("no run; expected at least one seed")
    if len({items.hash for items in runs.values()}) > 1:
        raise ValueError("the seeds were measured on different items")
    patients = _any_of(runs).patient_ids
    weights = resample_patients(patients, num_resamples=num_resamples, seed=seed)
    weights = np.vstack([np.ones(len(patients)), weights])
    return np.stack([mean_of_labels(runs[s], weights) for s in sorted(runs)])


def _range_of(runs: Mapping[int, Items]) -> tuple[float, float]:
    """Return what a figure cannot leave: that of AUROC, or of the values it is the mean of."""
    if _any_of(runs).truth is not None:
        return 0.0, 1.0
    values = np.stack([items.values for items in runs.values()])
    known = values[~np.isnan(values)]
    return float(known.min(initial=np.inf)), float(known.max(initial=-np.inf))


def _any_of(runs: Mapping[int, Items]) -> Items:
    return next(iter(runs.values()))


def _over_seeds(table: Float[np.ndarray, "seeds one_and_resamples"], items: Items) -> Interval:
    """Return the mean over seeds with its interval over patients and seeds."""
    values, resampled = table[:, 0], table[:, 1:]
    support = items.support.of_mean(items.support.freedom > 0)
    means = resampled.mean(axis=0)[:, None]
    over_patients = summarise(values.mean(keepdims=True), means, support).per_label[0]
    num_seeds = len(table)
    if num_seeds == 1 or math.isnan(over_patients.low):
        return over_patients
    share = math.sqrt(_shared_variance(resampled))
    quantile = float(stdtrit(num_seeds - 1, (1 + CONFIDENCE) / 2))
    leg = quantile * float(values.std(ddof=1)) / math.sqrt(num_seeds)
    value = over_patients.value
    ends = (value - over_patients.low, over_patients.high - value)
    low, high = (max(end, math.hypot(share * end, leg)) for end in ends)
    return replace(over_patients, low=value - low, high=value + high)


def _shared_variance(resampled: Float[np.ndarray, "seeds resamples"]) -> float:
    """Return the share of the variance of the seeds' mean that all seeds have in common."""
    covariance = np.cov(resampled[:, ~np.isnan(resampled).any(axis=0)])
    of_mean, n = covariance.mean(), len(covariance)
    common = (covariance.sum() - np.trace(covariance)) / (n * (n - 1))
    return float(np.clip(common / of_mean, 0, 1)) if of_mean > 0 else 0.0
