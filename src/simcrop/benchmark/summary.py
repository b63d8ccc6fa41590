"""From finished cells to figures: means over seeds, differences that the claims rest on, costs.

Nothing is computed anew from volumes: a cell's result holds the value of every item. What is not
finished is simply missing, so a table can be made at any time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from simcrop.benchmark.cell import Cell
from simcrop.benchmark.measures import MAPS
from simcrop.benchmark.variants import VARIANTS
from simcrop.evaluate.grounding import OWN
from simcrop.evaluate.intervals import Interval
from simcrop.evaluate.items import Items
from simcrop.evaluate.results import Result
from simcrop.evaluate.seeds import difference_over_seeds, mean_over_seeds
from simcrop.evaluate.tables import Table, format_interval

# measure, how the table's column is headed
CLASSIFICATION = {
    "probe_100": "probe, 100 %",
    "probe_10": "10 %",
    "probe_1": "1 % of labels",
    "probe_100 max": "maximum, 100 %",
    "probe_10 max": "10 %",
    "probe_1 max": "1 %",
    "zero_shot": "zero-shot",
}
GROUNDING = {
    "chance": "chance",
    "hit": "hit",
    "hit swapped": "swapped",
    "hit position": "position only",
    "patch_auroc": "patch AUROC",
    "patch_auroc unplaced": "no place named",
    "patch_auroc unplaced position": "position only, no place named",
}
AWAY = {
    "probe_100 away": "probe, 100 %",
    "probe_1 away": "1 %",
    "probe_1 max away": "maximum, 1 %",
    "zero_shot away": "zero-shot",
    "hit away": "hit",
    "hit swapped away": "swapped",
    "patch_auroc away": "patch AUROC",
}
RETRIEVAL = {
    "recall_10 report to volume": "report to volume",
    "recall_10 volume to report": "volume to report",
}
VOXELS = {"patch_dice": "linear layer on patch tokens", "unetr_dice": "UNETR"}
MAP_FIGURES = {
    "hit": "hit",
    "patch_auroc": "patch AUROC",
    "average_precision": "average precision",
}
WORDS = {"words_true": "true volume", "words_shuffled": "another patient's"}
COLUMNS = CLASSIFICATION | GROUNDING | AWAY | RETRIEVAL | VOXELS | WORDS
_OF_FINDINGS = ("probe_1", "zero_shot", "hit", "hit swapped", "hit position", "patch_auroc")


@dataclass(frozen=True)
class Claim:
    """Two measures of two variants whose difference says something."""

    says: str
    variant: str
    measure: str
    other: str
    other_measure: str = ""


CLAIMS = (
    Claim("a: 1 % of the labels, recommended over masked volume", "recommended", "probe_1",
          "masked_volume"),
    Claim("a: 1 % of the labels, recommended over patch statistics", "recommended", "probe_1",
          "patch_statistics"),
    Claim("a: from the maximum over patches, over masked volume", "recommended", "probe_1 max",
          "masked_volume"),
    Claim("a: from the maximum over patches, over patch statistics", "recommended", "probe_1 max",
          "patch_statistics", "probe_1"),
    Claim("a: 10 % of the labels, recommended over supervised with all", "recommended", "probe_10",
          "supervised", "probe_100"),
    Claim("a: from the maximum over patches, 10 % over supervised with all", "recommended",
          "probe_10 max", "supervised", "probe_100"),
    Claim("c: own volume over another patient's", "recommended", "hit", "recommended",
          "hit swapped"),
    Claim("c: own volume over position alone", "recommended", "hit", "recommended",
          "hit position"),
    Claim("d: hidden finding words, true over another volume, recommended", "recommended",
          "words_true", "recommended", "words_shuffled"),
    Claim("d: hidden finding words, true over another volume, fusion", "fusion", "words_true",
          "fusion", "words_shuffled"),
    Claim("d: hidden finding words, recommended over no help of the volume", "recommended",
          "words_true", "masked_report"),
    Claim("d: hidden finding words, the paper's fusion over none", "fusion", "words_true",
          "masked_report"),
    Claim("d: alignment over none, 1 % of the labels", "recommended", "probe_1", "fusion"),
    Claim("d: full over alignment alone, zero-shot", "recommended", "zero_shot", "per_image"),
    Claim("d: full over alignment alone, hit", "recommended", "hit", "per_image"),
    Claim("e: per image over within report, zero-shot", "per_image", "zero_shot",
          "within_report"),
    Claim("e: recommended over permuted reports, zero-shot", "recommended", "zero_shot",
          "permuted"),
)  # fmt: skip


class Summary:
    """The finished cells of a benchmark.

    Args:
        cells: finished or not.

    Raises:
        DataError: if a finished cell was made with other settings.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        self.results: dict[str, dict[int, Result]] = {}
        for cell in cells:
            if cell.is_done:
                self.results.setdefault(cell.variant.name, {})[cell.seed] = cell.read()

    def runs(self, variant: str, measure: str) -> dict[int, Items]:
        """Return a measure of a variant by seed; empty where it has none."""
        return {
            seed: items
            for seed, result in self.results.get(variant, {}).items()
            for items in result.items
            if items.measure == measure
        }

    def figures(self) -> dict[str, dict[str, Interval]]:
        """Return the mean over seeds of every measure of every variant."""
        return {
            name: {m: mean_over_seeds(runs) for m in COLUMNS if (runs := self.runs(name, m))}
            for name in self._names()
        }

    def differences(self) -> dict[str, Interval]:
        """Return the paired difference behind every claim whose cells are there."""
        found = {}
        for claim in CLAIMS:
            runs = self.runs(claim.variant, claim.measure)
            others = self.runs(claim.other, claim.other_measure or claim.measure)
            if runs.keys() & others.keys():
                found[claim.says] = difference_over_seeds(runs, others)
        return found

    def cpu_minutes(self) -> dict[str, float]:
        """Return the mean CPU time of a cell of every variant."""
        return {
            name: float(np.mean([sum(r.figures["cpu_seconds"].values()) / 60 for r in of.values()]))
            for name, of in ((name, self.results[name]) for name in self._names())
        }

    def table(self, columns: Mapping[str, str]) -> Table:
        """Return one row per variant that has one of these measures, and what its cells cost."""
        figures, minutes = self.figures(), self.cpu_minutes()
        rows = [
            (
                VARIANTS[name].says,
                str(len(self.results[name])),
                *(_cell(of.get(measure)) for measure in columns),
                f"{minutes[name]:.1f}",
            )
            for name, of in figures.items()
            if of.keys() & columns.keys()
        ]
        return Table(("variant", "seeds", *columns.values(), "CPU min"), tuple(rows))

    def claims_table(self) -> Table:
        """Return one row per difference."""
        rows = [(says, format_interval(one)) for says, one in self.differences().items()]
        return Table(
            ("difference, paired by seed and patient", "mean [95 % interval]"), tuple(rows)
        )

    def findings_table(self, variant: str) -> Table:
        """Return one row per finding of a variant: classification from words, and grounding."""
        columns = {m: self._by_finding(variant, m) for m in _OF_FINDINGS if self.runs(variant, m)}
        labels = sorted({label for column in columns.values() for label in column})
        rows = [
            (label, *(_cell(column.get(label)) for column in columns.values())) for label in labels
        ]
        return Table(("finding", *(COLUMNS[measure] for measure in columns)), tuple(rows))

    def maps_table(self, variant: str) -> Table:
        """Return one row per kind of map: the sentence's own, and those that cannot know."""
        rows = []
        for kind in MAPS:
            suffix = "" if kind == OWN else f" {kind}"
            runs = [self.runs(variant, f"{figure}{suffix}") for figure in MAP_FIGURES]
            if all(runs):
                rows.append((kind, *(_cell(mean_over_seeds(one)) for one in runs)))
        chance = self.runs(variant, "chance")
        if rows and chance:
            rows.append(
                ("chance", _cell(mean_over_seeds(chance)), "0.5", _cell(mean_over_seeds(chance)))
            )
        return Table(("map", *MAP_FIGURES.values()), tuple(rows))

    def _names(self) -> list[str]:
        return [name for name in VARIANTS if name in self.results]

    def _by_finding(self, variant: str, measure: str) -> dict[str, Interval]:
        runs = self.runs(variant, measure)
        names = dict.fromkeys(name for items in runs.values() for name in items.names)
        return {
            name: mean_over_seeds({seed: _only(items, name) for seed, items in runs.items()})
            for name in names
        }


def _only(items: Items, name: str) -> Items:
    """Return one column of the items."""
    at = [items.names.index(name)]
    truth = None if items.truth is None else items.truth[:, at]
    return replace(items, names=(name,), values=items.values[:, at], truth=truth)


def _cell(interval: Interval | None) -> str:
    return "-" if interval is None else format_interval(interval)
