"""Figures over several seeds: how much is the method, how much chance of network and patients.

A method is run once per seed and measured on the same items each time. Its figure is the mean
over seeds. An interval draws seeds and patients anew: both must agree before a difference counts.
Two methods are compared seed by seed on the same resamples of the same patients, since the same
seed gave both the same order of the data.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from simcrop.evaluate.intervals import (
    Interval,
    resample_patients,
    summarise,
    weighted_auroc,
)
from simcrop.evaluate.items import Items

NUM_RESAMPLES = 1000


def mean_over_seeds(
    runs: Mapping[int, Items], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> Interval:
    """Return the mean over labels and seeds, with an interval over patients and seeds.

    Args:
        runs: the same items by the seed of the run.
        num_resamples: of patients, each with its own draw of seeds.
        seed: of the resampling.

    Raises:
        ValueError: if there is no run, or the runs are not of the same items.
    """
    return _over_seeds(_table(runs, num_resamples, seed), _any_of(runs), seed)


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
    return _over_seeds(table, _any_of(runs), seed)


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


def _any_of(runs: Mapping[int, Items]) -> Items:
    return next(iter(runs.values()))


def _over_seeds(table: np.ndarray, items: Items, seed: int) -> Interval:
    """Average over seeds; every resample of the patients has a draw of the seeds of its own."""
    num_seeds, num_resamples = len(table), table.shape[1] - 1
    drawn = np.random.default_rng(seed).integers(num_seeds, size=(num_seeds, num_resamples))
    resampled = np.take_along_axis(table[:, 1:], drawn, axis=0).mean(axis=0)
    support = items.support.of_mean(items.support.freedom > 0)
    return summarise(table[:, 0].mean(keepdims=True), resampled[:, None], support).per_label[0]
