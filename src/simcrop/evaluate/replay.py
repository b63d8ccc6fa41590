"""How much choosing on the test volumes would have flattered a figure, on the same data.

The authors' code takes the best step by the AUROC of its test list (method.md 18.1). Here that
choice is replayed among the very candidates of which validation chose one, after the fact and
beside the figure, never instead of it: this is the one place that looks for the best on test.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from simcrop.evaluate.classification import mean_auroc
from simcrop.evaluate.decisions import best_f1_threshold, f1
from simcrop.evaluate.held_out import HeldOut, Opened
from simcrop.evaluate.intervals import Interval, auroc_differences


@dataclass(frozen=True)
class Replay:
    """The honest figure, the one of the best candidate on test, and what lies between.

    Attributes:
        choice, test_choice: the candidate that validation, and that the test set, would take.
        num_candidates: how many there were to choose from.
        auroc, test_auroc: their mean AUROC on test.
        inflation: `test_auroc` minus `auroc`, paired, with an interval over patients.
        f1, test_f1: mean F1 at validation thresholds, and of the best candidate at the
            thresholds that are best on test.
    """

    choice: str
    test_choice: str
    num_candidates: int
    auroc: float
    test_auroc: float
    inflation: Interval
    f1: float
    test_f1: float

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {**vars(self), "inflation": self.inflation.to_dict()}


def replay_selection(held_out: HeldOut, opened: Opened) -> Replay:
    """Return what a choice by test AUROC and test F1 would have reported for a fixed head."""
    head = opened.head
    rivals = {
        name: held_out.open(replace(head, predict=candidate.predict, choice=name))
        for name, candidate in head.candidates.items()
    }
    aurocs = {name: mean_auroc(one.scores, one.labels).value for name, one in rivals.items()}
    is_scored = not any(math.isnan(value) for value in aurocs.values())
    best = max(aurocs, key=aurocs.__getitem__) if is_scored else head.choice
    difference = auroc_differences(
        rivals[best].scores, opened.scores, opened.labels, opened.patient_ids
    )
    columns = zip(rivals[best].scores.T, opened.labels.T, strict=True)
    test_thresholds = np.array([best_f1_threshold(s, y) for s, y in columns])
    return Replay(
        choice=head.choice,
        test_choice=best,
        num_candidates=len(rivals),
        auroc=aurocs[head.choice],
        test_auroc=aurocs[best],
        inflation=difference.mean,
        f1=_mean_f1(opened, head.points.thresholds),
        test_f1=_mean_f1(rivals[best], test_thresholds),
    )


def _mean_f1(opened: Opened, thresholds: np.ndarray) -> float:
    """Return the mean F1 over the labels that have a positive volume; nan without one."""
    once = np.ones((1, len(opened.labels)))
    taken = opened.scores >= thresholds
    values = [f1(t, y, once)[0] for t, y in zip(taken.T, opened.labels.T, strict=True)]
    scored = [value for value in values if not math.isnan(value)]
    return float(np.mean(scored)) if scored else math.nan
