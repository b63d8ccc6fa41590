"""Who may see which labels: heads are fitted and chosen on a `Development`, tested on a `HeldOut`.

A development holds training and validation volumes and no other. A held-out set gives its labels to
nobody but in exchange for a `FixedHead`, together with that head's scores: whatever there was to
choose (penalty, step, neighbours, thresholds, temperature) has been chosen by then, by `fix_head`,
which is handed a development alone. So no code that selects can read a test label.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Integer

from simcrop.data.splits import take_fraction
from simcrop.evaluate.classification import mean_auroc
from simcrop.evaluate.scorecard import OperatingPoints, operating_points


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a head sees of volumes.

    Attributes:
        vectors: one per volume.
        tokens: patch tokens of all volumes of a feature file, read when needed; None without.
        rows: which rows of `tokens` are these volumes.
    """

    vectors: Float[np.ndarray, "volumes dim"]
    tokens: np.ndarray | None = None
    rows: Int[np.ndarray, " token_rows"] = field(
        default_factory=lambda: np.zeros(0, dtype=np.int64)
    )

    def __len__(self) -> int:
        return len(self.vectors)

    def take(self, chosen: Integer[np.ndarray, " chosen"]) -> "Inputs":
        """Return some of the volumes."""
        rows = self.rows if self.tokens is None else self.rows[chosen]
        return Inputs(self.vectors[chosen], self.tokens, rows)


@dataclass(frozen=True, eq=False)
class Part:
    """Volumes with their labels, 0 or 1."""

    inputs: Inputs
    labels: Int[np.ndarray, "volumes labels"]
    volume_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, chosen: Integer[np.ndarray, " chosen"]) -> "Part":
        """Return some of the volumes."""
        ids = [tuple(of[i] for i in chosen) for of in (self.volume_ids, self.patient_ids)]
        return Part(self.inputs.take(chosen), self.labels[chosen], ids[0], ids[1])


@dataclass(frozen=True, eq=False)
class Development:
    """All that a head may be made of.

    Attributes:
        train: fits.
        val: chooses; may be empty, then nothing is chosen and defaults hold.
        label_names: of the columns.
        are_exclusive: every volume has exactly one of the labels, so a head's scores add up to 1.
    """

    train: Part
    val: Part
    label_names: tuple[str, ...]
    are_exclusive: bool = False

    def of_fraction(self, fraction: float, seed: int) -> "Development":
        """Return a share of the training patients; smaller ones lie inside larger ones."""
        chosen = set(take_fraction(self.train.patient_ids, fraction, seed))
        rows = [i for i, patient in enumerate(self.train.patient_ids) if patient in chosen]
        return replace(self, train=self.train.take(np.array(rows, dtype=np.int64)))


Predict = Callable[[Inputs], Float[np.ndarray, "volumes labels"]]


class Candidate(NamedTuple):
    """One setting among which validation chose, and its score there; nan if there is none."""

    predict: Predict
    val_score: float


@dataclass(frozen=True, eq=False)
class FixedHead:
    """A head about which nothing is left to choose; made by `fix_head`.

    Attributes:
        predict: probability of each label.
        points: thresholds and temperatures, of validation volumes.
        label_names: of the columns.
        are_exclusive: the probabilities of a volume add up to 1.
        choice: the name of the candidate that validation chose.
        candidates: all of them, for `simcrop.evaluate.replay`.
        settings: how it was fitted.
    """

    predict: Predict
    points: OperatingPoints
    label_names: tuple[str, ...]
    are_exclusive: bool
    choice: str
    candidates: Mapping[str, Candidate]
    settings: Mapping[str, Any]


def selection_score(probabilities: Float[np.ndarray, "volumes labels"], part: Part) -> float:
    """Return what validation chooses by: the mean AUROC over the labels that have both classes."""
    return mean_auroc(probabilities, part.labels).value


def fix_head(
    development: Development,
    predictors: Mapping[str, Predict],
    *,
    default: str,
    settings: Mapping[str, Any],
    val_scores: Mapping[str, float] | None = None,
) -> FixedHead:
    """Choose the predictor of the best validation score; the first of equals.

    Where no label has both classes in validation, `default` is taken. `val_scores` are those of
    the predictors where they are known already.
    """
    val = development.val
    scores = val_scores or {
        name: selection_score(predict(val.inputs), val) if val else math.nan
        for name, predict in predictors.items()
    }
    is_scored = not any(math.isnan(score) for score in scores.values())
    choice = max(scores, key=scores.__getitem__) if is_scored else default
    predict = predictors[choice]
    num_labels = len(development.label_names)
    on_val = predict(val.inputs) if val else np.zeros((0, num_labels))
    return FixedHead(
        predict=predict,
        points=operating_points(on_val, val.labels),
        label_names=development.label_names,
        are_exclusive=development.are_exclusive,
        choice=choice,
        candidates={name: Candidate(predictors[name], scores[name]) for name in predictors},
        settings=settings,
    )


@dataclass(frozen=True, eq=False)
class Opened:
    """The scores of a fixed head on held-out volumes, and the labels that they are held against."""

    head: FixedHead
    scores: Float[np.ndarray, "volumes labels"]
    labels: Int[np.ndarray, "volumes labels"]
    volume_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]


class HeldOut:
    """Test volumes whose labels only a fixed head opens.

    The labels are no attribute: they live in the one function that scores.

    Attributes:
        volume_ids: in order.
        label_names: that a head must have.
    """

    def __init__(self, part: Part, label_names: tuple[str, ...]) -> None:
        self.volume_ids = part.volume_ids
        self.label_names = label_names

        def score(head: FixedHead) -> Opened:
            scores = head.predict(part.inputs)
            return Opened(head, scores, part.labels, part.volume_ids, part.patient_ids)

        self._score = score

    def __len__(self) -> int:
        return len(self.volume_ids)

    def open(self, head: FixedHead) -> Opened:
        """Return the head's scores beside the labels.

        Raises:
            TypeError: if anything but a fixed head asks.
            ValueError: if its labels are others.
        """
        if not isinstance(head, FixedHead):
            raise TypeError(f"{type(head).__name__}; labels are shown to a FixedHead only")
        if head.label_names != self.label_names:
            raise ValueError(f"a head of {head.label_names}; expected one of {self.label_names}")
        return self._score(head)
