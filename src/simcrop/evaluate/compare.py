"""Two runs or more on the same items: one table, differences paired, intervals over patients.

Whatever a command measured item by item can be compared: scores of labels by their AUROC, and
values (a Dice, a pointing hit, a distance) by their mean. Runs meet on the same items or not at
all: a figure of another test set is another figure.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from simcrop.errors import DataError, complain
from simcrop.evaluate.delong import DeLong, delong
from simcrop.evaluate.intervals import (
    LabelIntervals,
    resample_patients,
    resampled_aurocs,
    summarise,
)
from simcrop.evaluate.items import Items


@dataclass(frozen=True)
class Comparison:
    """One measure of several runs on the same items.

    Attributes:
        measure: `auroc`, `dice`, ...
        names: the labels or classes, in order.
        higher_is_better: False for distances.
        hash: of the items.
        num_items, num_patients: how many they are.
        num_unpaired: values left out because not every run has them, as a surface distance where
            one run found nothing.
        values: of every run, per label and mean.
        differences: the first run minus each other, on the same resamples of patients.
        delong: of the same runs, label by label, where every patient has one item and the measure
            is an AUROC; empty otherwise, since the test takes items for independent.
    """

    measure: str
    names: tuple[str, ...]
    higher_is_better: bool
    hash: str
    num_items: int
    num_patients: int
    num_unpaired: int
    values: Mapping[str, LabelIntervals]
    differences: Mapping[str, LabelIntervals]
    delong: Mapping[str, tuple[DeLong, ...]]


def compare(
    runs: Mapping[str, Items],
    *,
    on_common: bool = False,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Comparison:
    """Compare one measure of runs.

    Args:
        runs: the values of each, by its name; the first is set against the others.
        on_common: use the items and labels that all have, where they differ.
        num_resamples: of the patients, the same for all.
        seed: draws them.

    Raises:
        DataError: if items, labels, patients or truth differ, or have nothing in common.
    """
    aligned, num_unpaired = _paired(_align(runs, on_common=on_common))
    (first_name, first), *others = aligned.items()
    weights = resample_patients(first.patient_ids, num_resamples=num_resamples, seed=seed)
    weights = np.vstack([np.ones(len(first.item_ids)), weights])
    tables = {name: _table(items, weights) for name, items in aligned.items()}

    def summary(table: Float[np.ndarray, "rows labels"]) -> LabelIntervals:
        return summarise(table[0], table[1:], first.support)

    is_independent = len(set(first.patient_ids)) == len(first.patient_ids)
    return Comparison(
        measure=first.measure,
        names=first.names,
        higher_is_better=first.higher_is_better,
        hash=first.hash,
        num_items=len(first.item_ids),
        num_patients=len(set(first.patient_ids)),
        num_unpaired=num_unpaired,
        values={name: summary(table) for name, table in tables.items()},
        differences={name: summary(tables[first_name] - tables[name]) for name, _ in others},
        delong={
            name: tuple(
                delong(first.values[:, i], other.values[:, i], first.truth[:, i])
                for i in range(len(first.names))
            )
            for name, other in others
            if first.truth is not None and is_independent
        },
    )


def _table(items: Items, weights: Float[np.ndarray, "rows items"]) -> Float[np.ndarray, "rows l"]:
    """Return the figure of every label for every row of weights."""
    if items.truth is not None:
        return resampled_aurocs(items.values, items.truth, weights)
    is_there = ~np.isnan(items.values)
    sums, counts = weights @ np.nan_to_num(items.values), weights @ is_there.astype(float)
    return np.divide(sums, counts, out=np.full(sums.shape, math.nan), where=counts > 0)


def _paired(runs: dict[str, Items]) -> tuple[dict[str, Items], int]:
    """Return the runs with the values that all of them have, and how many are left out.

    An infinite value, the distance to a structure that was not found, is none, as in the means of
    a single run.
    """
    missing = np.stack([~np.isfinite(items.values) for items in runs.values()])
    is_missing = missing.any(axis=0)
    kept = {
        name: replace(items, values=np.where(is_missing, np.nan, items.values))
        for name, items in runs.items()
    }
    return kept, int((is_missing & ~missing.all(axis=0)).sum())


def _align(runs: Mapping[str, Items], *, on_common: bool) -> dict[str, Items]:
    """Return the runs with the items and labels of the first, in its order."""
    (first_name, first), *others = runs.items()
    common_ids, common_names = set(first.item_ids), set(first.names)
    for name, other in others:
        same = set(other.item_ids) == set(first.item_ids) and set(other.names) == set(first.names)
        if not same and not on_common:
            raise DataError(
                complain(
                    f"{name} has {len(other.item_ids)} items ({other.hash}) of "
                    f"{len(other.names)} labels, {first_name} {len(first.item_ids)} "
                    f"({first.hash}) of {len(first.names)}",
                    "the same items and labels, so that differences are paired",
                    "Run both on one test set, or pass --on-common.",
                )
            )
        common_ids &= set(other.item_ids)
        common_names &= set(other.names)
    if not common_ids or not common_names:
        raise DataError(
            complain(f"{', '.join(runs)}: no item and label in common", "some", "Check the runs.")
        )
    ids = [one for one in first.item_ids if one in common_ids]
    names = [one for one in first.names if one in common_names]
    aligned = {name: _take(items, ids, names) for name, items in runs.items()}
    for name, other in aligned.items():
        _need_same(aligned[first_name], other, first_name, name)
    return aligned


def _take(items: Items, ids: Sequence[str], names: Sequence[str]) -> Items:
    row_of = {one: row for row, one in enumerate(items.item_ids)}
    rows, columns = [row_of[one] for one in ids], [items.names.index(one) for one in names]
    cells = np.ix_(rows, columns)
    return replace(
        items,
        item_ids=tuple(ids),
        patient_ids=tuple(items.patient_ids[row] for row in rows),
        names=tuple(names),
        values=items.values[cells],
        truth=None if items.truth is None else items.truth[cells],
    )


def _need_same(first: Items, other: Items, first_name: str, name: str) -> None:
    facts = {
        "measures": first.measure == other.measure,
        "patients": first.patient_ids == other.patient_ids,
        "labels": np.array_equal(first.truth, other.truth)
        if first.truth is not None and other.truth is not None
        else first.truth is other.truth,
    }
    if differing := [fact for fact, same in facts.items() if not same]:
        raise DataError(
            complain(
                f"{first_name} and {name} have the same items, but other {', '.join(differing)}",
                "the same, so that differences are paired",
                "The stores behind them differ: prepare one store, run both on it.",
            )
        )
