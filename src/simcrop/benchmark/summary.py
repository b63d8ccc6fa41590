"""From finished cells to figures: means over seeds, differences that the claims rest on, costs.

Nothing is computed anew from volumes: a cell's result holds the value of every item. What is not
finished is simply missing, so a table can be made at any time.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from simcrop.benchmark.cell import Cell
from simcrop.benchmark.claims import CLAIMS, OURS
from simcrop.benchmark.columns import MEASURES
from simcrop.benchmark.variants import VARIANTS
from simcrop.evaluate.intervals import Interval
from simcrop.evaluate.items import Items
from simcrop.evaluate.results import NamedSet, Result
from simcrop.evaluate.seeds import difference_over_seeds, mean_over_seeds

STAGES = ("train", "evaluate", "segment")


class Summary:
    """The finished cells of a benchmark.

    Args:
        cells: finished or not.
        sets: of the phantoms that they are of.

    Raises:
        DataError: if a finished cell was made with other settings or of other phantoms.
    """

    def __init__(self, cells: Iterable[Cell], sets: Mapping[str, NamedSet]) -> None:
        self.results: dict[str, dict[int, Result]] = {}
        for cell in cells:
            if cell.is_done:
                self.results.setdefault(cell.variant.name, {})[cell.seed] = cell.read(sets)
        self._means: dict[tuple[str, str, tuple[str, ...]], Interval | None] = {}

    @property
    def names(self) -> list[str]:
        """The variants that have a finished cell, in the order of the tables."""
        return [name for name in VARIANTS if name in self.results]

    @property
    def best(self) -> str | None:
        """The one of our variants that tables and pictures show from near, if any is there."""
        return next((name for name in OURS if name in self.results), None)

    def runs(self, variant: str, measure: str, findings: Sequence[str] = ()) -> dict[int, Items]:
        """Return a measure of a variant by seed; empty where it has none.

        With findings, of those that it has alone. `hit unplaced` and `chance unplaced` are of the
        sentences that have a `patch_auroc unplaced`, those that name no place.
        """
        runs = {
            seed: found
            for seed, result in self.results.get(variant, {}).items()
            if (found := _measure(result, measure)) is not None
        }
        if not findings:
            return runs
        return {s: one for s, items in runs.items() if (one := _only(items, findings)).names}

    def mean(self, variant: str, measure: str, findings: tuple[str, ...] = ()) -> Interval | None:
        """Return the mean over findings and seeds; None where the variant has no such measure."""
        key = variant, measure, findings
        if key not in self._means:
            runs = self.runs(*key)
            self._means[key] = mean_over_seeds(runs) if runs else None
        return self._means[key]

    def figures(self) -> dict[str, dict[str, Interval]]:
        """Return the mean of every measure of every variant."""
        return {
            name: {m: one for m in MEASURES if (one := self.mean(name, m)) is not None}
            for name in self.names
        }

    def differences(self) -> dict[str, Interval]:
        """Return the paired difference behind every claim whose cells are there."""
        found = {}
        for claim in CLAIMS:
            runs = self.runs(claim.variant, claim.measure, claim.findings)
            others = self.runs(claim.other, claim.other_measure or claim.measure, claim.findings)
            if runs.keys() & others.keys():
                found[claim.says] = difference_over_seeds(runs, others)
        return found

    def cpu_minutes(self) -> dict[str, dict[str, float]]:
        """Return the mean CPU time of each stage of every variant, over the cells that have it."""
        return {
            name: {
                stage: float(np.mean(spent))
                for stage in STAGES
                if (spent := self._spent(name, stage))
            }
            for name in self.names
        }

    def of_findings(self, variant: str, measure: str) -> list[str]:
        """Return the findings that a measure of a variant is known of."""
        runs = self.runs(variant, measure)
        return list(dict.fromkeys(name for items in runs.values() for name in items.names))

    def _spent(self, variant: str, stage: str) -> list[float]:
        costs = [result.figures["cpu_seconds"] for result in self.results[variant].values()]
        return [seconds[stage] / 60 for seconds in costs if stage in seconds]


def _measure(result: Result, name: str) -> Items | None:
    """Return a measure of a cell, None where it has none."""
    if name.startswith(("hit unplaced", "chance unplaced")):
        whole = _measure(result, name.replace(" unplaced", ""))
        unplaced = _measure(result, "patch_auroc unplaced")
        if whole is None or unplaced is None:
            return None
        return replace(whole, values=np.where(np.isnan(unplaced.values), np.nan, whole.values))
    return next((items for items in result.items if items.measure == name), None)


def _only(items: Items, names: Sequence[str]) -> Items:
    """Return some columns of the items, those that are there."""
    at = [items.names.index(name) for name in names if name in items.names]
    truth = None if items.truth is None else items.truth[:, at]
    names = tuple(items.names[number] for number in at)
    return replace(items, names=names, values=items.values[:, at], truth=truth)
