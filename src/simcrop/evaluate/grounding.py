"""Does a sentence find its voxels? Every figure beside the same figure of maps that cannot know.

A map may look good because its finding always lies in the same place, or because the sentence
names the place. So a sentence's own map is judged with others, by the same mask:

    swapped            the same sentence on another patient's volume
    mean of others     its mean map over all other patients: what the sentence does anywhere
    position           where training masks of the finding lie; knows no image and no sentence
    position and words likewise, of the finding with the side and level that the sentence names
    random             no knowledge at all

What the voxels contribute is the difference between the own map and the best of these. The chance
level of a hit is the share of body patches that lie in the mask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from jaxtyping import Float

from simcrop.evaluate.dice_thresholds import NO_THRESHOLDS, DiceThresholds
from simcrop.evaluate.grounded_sentence import OWN, SWAPPED, GroundedSentence
from simcrop.evaluate.intervals import Interval, LabelIntervals, means_intervals
from simcrop.evaluate.map_figures import (
    at_peak,
    dice,
    hit_at_k,
    patch_auroc,
    patch_average_precision,
    target_patches,
)

DISTANCES = ("distance_mm", "depth_mm")


@dataclass(frozen=True)
class MapFigures:
    """The figures of one kind of map: shares from 0 to 1, and errors of the peak in mm."""

    hit: Interval
    hit_at_k: Interval
    patch_auroc: Interval
    average_precision: Interval
    dice: Interval
    distance_mm: Interval
    depth_error_mm: Interval

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {one.name: getattr(self, one.name).to_dict() for one in fields(self)}


FIGURES = tuple(one.name for one in fields(MapFigures))


@dataclass(frozen=True)
class GroundingRow:
    """The figures of one label, or their mean over labels, with intervals over patients.

    Attributes:
        chance: the level of `hit`, `hit_at_k` and `average_precision` for a random map.
        maps: the figures of the own map and of each control.
        differences: own minus control, sentence by sentence.
    """

    label: str
    num_sentences: int
    chance: Interval
    maps: Mapping[str, MapFigures]
    differences: Mapping[str, MapFigures]

    @property
    def hit(self) -> Interval:
        """Share of sentences whose best patch is a target."""
        return self.maps[OWN].hit

    @property
    def swapped_hit(self) -> Interval:
        """The same on another patient's volume."""
        return self.maps[SWAPPED].hit

    @property
    def hit_difference(self) -> Interval:
        """Hit minus swapped hit: the figure of merit."""
        return self.differences[SWAPPED].hit

    @property
    def patch_auroc(self) -> Interval:
        """Chance that a target is more similar than another body patch."""
        return self.maps[OWN].patch_auroc

    @property
    def swapped_patch_auroc(self) -> Interval:
        """The same on another patient's volume."""
        return self.maps[SWAPPED].patch_auroc

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "label": self.label,
            "num_sentences": self.num_sentences,
            "chance": self.chance.to_dict(),
            "maps": {name: one.to_dict() for name, one in self.maps.items()},
            "own_minus": {name: one.to_dict() for name, one in self.differences.items()},
        }


@dataclass(frozen=True)
class GroundingResult:
    """One row per label, sorted by name, and their unweighted mean.

    Attributes:
        num_left_out: sentences whose mask holds no body patch of the crop.
        top_k: the k of `hit_at_k`.
        min_relative_share: what makes a patch a target.
        scored: the sentences with a target.
        values: of each of them, by map and figure.
    """

    rows: tuple[GroundingRow, ...]
    mean: GroundingRow
    num_left_out: int
    top_k: int
    min_relative_share: float
    scored: tuple[GroundedSentence, ...] = field(repr=False)
    values: Mapping[str, Mapping[str, Float[np.ndarray, " sentences"]]] = field(repr=False)

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "mean": self.mean.to_dict(),
            "labels": [row.to_dict() for row in self.rows],
            "num_left_out": self.num_left_out,
            "top_k": self.top_k,
            "min_relative_share": self.min_relative_share,
        }


def evaluate_grounding(
    sentences: Sequence[GroundedSentence],
    *,
    top_k: int,
    min_relative_share: float = 0.1,
    thresholds: DiceThresholds = NO_THRESHOLDS,
    num_resamples: int = 1000,
    seed: int = 0,
) -> GroundingResult:
    """Return the figures per label and their mean over labels, with intervals over patients.

    Args:
        sentences: all with maps of the same kinds, on one grid of patches.
        top_k: the k of `hit_at_k`.
        min_relative_share: what makes a patch a target.
        thresholds: of Dice, which is nan without them.
        num_resamples: of the patients.
        seed: draws them.

    Raises:
        ValueError: if no sentence has a target, so that there is nothing to report, or if a
            similarity of a body patch is not finite.
    """
    scored = [sentence for sentence in sentences if sentence.has_target]
    if not scored:
        raise ValueError(
            f"none of {len(sentences)} sentences has a mask on a body patch; "
            "expected at least one. Check that masks and crops lie on the same grid"
        )
    chance, values = _score(scored, top_k, min_relative_share, thresholds)
    labels, label_of_item = np.unique([s.label for s in scored], return_inverse=True)
    columns = {("chance", ""): chance}
    for name, figures in values.items():
        columns |= {(name, figure): column for figure, column in figures.items()}
        if name != OWN:
            columns |= {
                (f"own - {name}", figure): values[OWN][figure] - column
                for figure, column in figures.items()
            }
    intervals = means_intervals(
        columns, label_of_item, len(labels), [s.patient_id for s in scored],
        num_resamples=num_resamples, seed=seed,
    )  # fmt: skip
    counts = np.bincount(label_of_item)
    names = tuple(values)
    rows = tuple(
        _row(str(label), int(counts[i]), names, intervals, i) for i, label in enumerate(labels)
    )
    mean = _row("mean", len(scored), names, intervals, None)
    left_out = len(sentences) - len(scored)
    return GroundingResult(rows, mean, left_out, top_k, min_relative_share, tuple(scored), values)


def _score(
    scored: Sequence[GroundedSentence],
    top_k: int,
    min_relative_share: float,
    thresholds: DiceThresholds,
) -> tuple[np.ndarray, dict[str, dict[str, np.ndarray]]]:
    """Return the chance level of every sentence, and every figure of every map."""
    body = np.stack([s.is_body for s in scored])
    share = np.stack([s.mask_share for s in scored])
    distance, depth = (np.stack([getattr(s, n) for s in scored]) for n in DISTANCES)
    target = target_patches(share, body, min_relative_share=min_relative_share)
    values = {}
    for name in scored[0].maps:
        maps = np.stack([s.maps[name] for s in scored])
        if not np.isfinite(maps[body]).all():
            raise ValueError(f"a similarity of a body patch in the map {name!r} is not finite")
        threshold = np.array([thresholds.of(name, s) for s in scored])
        values[name] = {
            "hit": at_peak(target, maps, body).astype(float),
            "hit_at_k": hit_at_k(maps, target, body, top_k),
            "patch_auroc": patch_auroc(maps, target, body),
            "average_precision": patch_average_precision(maps, target, body),
            "dice": np.where(np.isnan(threshold), np.nan, dice(maps, share, body, threshold)),
            "distance_mm": at_peak(distance, maps, body),
            "depth_error_mm": at_peak(depth, maps, body),
        }
    return target.sum(axis=1) / body.sum(axis=1), values


def _row(
    label: str,
    num_sentences: int,
    names: Sequence[str],
    intervals: Mapping[tuple[str, str], LabelIntervals],
    number: int | None,
) -> GroundingRow:
    """Return the row of a label by its number, or of the mean."""

    def pick(map_name: str, figure: str) -> Interval:
        both = intervals[map_name, figure]
        return both.mean if number is None else both.per_label[number]

    def figures(map_name: str) -> MapFigures:
        return MapFigures(**{figure: pick(map_name, figure) for figure in FIGURES})

    return GroundingRow(
        label,
        num_sentences,
        pick("chance", ""),
        {name: figures(name) for name in names},
        {name: figures(f"own - {name}") for name in names if name != OWN},
    )
