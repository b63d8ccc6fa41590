"""Does a sentence answer to what the volume shows? Figures of volumes with a known change.

Erased: the similarity of a sentence at its finding should fall when the finding is erased, more
than when another region of the same shape is. Mirrored: the peak should move to the other side,
and a sentence that names a side should lose against the one that names the other.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from simcrop.evaluate.intervals import Interval, means_intervals

NAN = float("nan")


@dataclass(frozen=True)
class Answers:
    """How one sentence answers; nan where the question does not arise.

    Attributes:
        region_drop: fall of the mean similarity at the finding's patches when it is erased.
        control_drop: the same of a region of the same shape elsewhere, at its own patches.
        drop_difference: the first minus the second.
        score_drop: fall of the score of the whole volume (mean of the Top-K) when it is erased.
        control_score_drop: the same when the other region is erased.
        prefers_region: 1 if the first fall is larger, 1/2 if equal, else 0; chance 0.5.
        hit: whether the peak is on the finding, for findings on one side of the volume.
        mirrored_hit: whether, in the mirrored volume, it is on the mirrored finding; the sentence
            with its sides exchanged.
        stayed_hit: whether it is where the finding was before: habit. The sentence as it is.
        side_preferred: 1 if the sentence scores above itself with sides exchanged, for sentences
            that name one side; chance 0.5.
        mirrored_side_preferred: the same in the mirrored volume, where it should lose.
        side_answers: 1 if the lead over the exchanged sentence falls by mirroring; chance 0.5.
    """

    region_drop: float = NAN
    control_drop: float = NAN
    drop_difference: float = NAN
    score_drop: float = NAN
    control_score_drop: float = NAN
    prefers_region: float = NAN
    hit: float = NAN
    mirrored_hit: float = NAN
    stayed_hit: float = NAN
    side_preferred: float = NAN
    mirrored_side_preferred: float = NAN
    side_answers: float = NAN


QUESTIONS = tuple(one.name for one in fields(Answers))


@dataclass(frozen=True)
class FaithfulnessRow:
    """The answers of one label's sentences, or their mean over labels, with intervals.

    Attributes:
        num_erased: sentences that have a region to compare the erasure with.
        num_mirrored: sentences whose finding lies on one side.
        num_sided: sentences that name one side.
    """

    label: str
    num_erased: int
    num_mirrored: int
    num_sided: int
    answers: dict[str, Interval]

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        plain = {name: interval.to_dict() for name, interval in self.answers.items()}
        counts = ("label", "num_erased", "num_mirrored", "num_sided")
        return {name: getattr(self, name) for name in counts} | plain


def summarise_answers(
    answers: Sequence[Answers],
    labels: Sequence[str],
    patient_ids: Sequence[str],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> tuple[FaithfulnessRow, ...]:
    """Return one row per label, sorted by name, and their unweighted mean at the end."""
    names, label_of_item = np.unique(np.asarray(labels), return_inverse=True)
    columns = {q: np.array([getattr(one, q) for one in answers]) for q in QUESTIONS}
    intervals = means_intervals(
        columns, label_of_item, len(names), patient_ids, num_resamples=num_resamples, seed=seed
    )
    is_there = {q: ~np.isnan(column) for q, column in columns.items()}

    def row(label: str, of_label: np.ndarray, number: int | None) -> FaithfulnessRow:
        erased, mirrored, sided = (
            int((is_there[q] & of_label).sum())
            for q in ("drop_difference", "mirrored_hit", "side_answers")
        )
        picked = {
            q: one.mean if number is None else one.per_label[number] for q, one in intervals.items()
        }
        return FaithfulnessRow(label, erased, mirrored, sided, picked)

    rows = [row(str(name), label_of_item == i, i) for i, name in enumerate(names)]
    return (*rows, row("mean", np.ones(len(answers), dtype=bool), None))


def preferred(difference: float) -> float:
    """Return 1 for a positive difference, 1/2 for none, 0 for a negative one; nan stays."""
    return float(np.sign(difference) + 1) / 2
