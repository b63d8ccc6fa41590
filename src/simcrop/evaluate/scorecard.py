"""All that is said about a classifier on a test set, each figure with what it needs beside it.

AUROC, average precision (chance: the prevalence), F1 and balanced accuracy at thresholds chosen on
validation studies, and the calibration error before and after the validation temperature. All
intervals come from one set of resampled patients.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

from simcrop.evaluate.calibration import (
    expected_calibration_error,
    fit_temperature,
    with_temperature,
)
from simcrop.evaluate.decisions import balanced_accuracy, best_f1_threshold, f1
from simcrop.evaluate.intervals import (
    Interval,
    LabelIntervals,
    resample_patients,
    summarise,
    weighted_auroc,
    weighted_average_precision,
)
from simcrop.evaluate.levels import Support

FIGURES = ("auroc", "average_precision", "f1", "balanced_accuracy")


@dataclass(frozen=True)
class OperatingPoints:
    """What validation studies decide for each label; test studies have no say.

    Attributes:
        thresholds: of the best validation F1; 0.5 where validation has no positive study.
        temperatures: of the smallest validation log loss; 1 where it has one class only.
    """

    thresholds: Float[np.ndarray, " labels"]
    temperatures: Float[np.ndarray, " labels"]


def operating_points(
    scores: Float[np.ndarray, "val labels"], labels: Shaped[np.ndarray, "val labels"]
) -> OperatingPoints:
    """Choose threshold and temperature of every label from probabilities of validation studies."""
    columns = list(zip(scores.T, labels.T, strict=True))
    return OperatingPoints(
        np.array([best_f1_threshold(s, y) for s, y in columns]),
        np.array([fit_temperature(s, y) for s, y in columns]),
    )


@dataclass(frozen=True)
class Classes:
    """Figures of labels that exclude each other: the most probable one is the answer.

    Attributes:
        accuracy: share of studies whose answer is right.
        macro_f1: mean F1 over the classes that occur.
        confusion: studies by true class (rows) and answer (columns).
    """

    accuracy: Interval
    macro_f1: Interval
    confusion: Int[np.ndarray, "classes classes"]


@dataclass(frozen=True)
class Scorecard:
    """The figures of one classifier, label by label.

    Attributes:
        prevalence: share of positive studies, the chance level of `average_precision`.
        calibration_error: of the probabilities as they are.
        scaled_calibration_error: of the probabilities at the validation temperature.
        classes: for labels that exclude each other, else None.
    """

    label_names: tuple[str, ...]
    num_studies: int
    num_patients: int
    prevalence: tuple[float, ...]
    auroc: LabelIntervals
    average_precision: LabelIntervals
    f1: LabelIntervals
    balanced_accuracy: LabelIntervals
    calibration_error: tuple[float, ...]
    scaled_calibration_error: tuple[float, ...]
    points: OperatingPoints
    classes: Classes | None

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON, with the labels by name."""

        def named(values: Sequence[float]) -> dict[str, float]:
            return dict(zip(self.label_names, map(float, values), strict=True))

        described: dict[str, object] = {
            "num_studies": self.num_studies,
            "num_patients": self.num_patients,
            "prevalence": named(self.prevalence),
            **{name: getattr(self, name).to_dict(self.label_names) for name in FIGURES},
            "calibration_error": named(self.calibration_error),
            "scaled_calibration_error": named(self.scaled_calibration_error),
            "thresholds": named(self.points.thresholds.tolist()),
            "temperatures": named(self.points.temperatures.tolist()),
        }
        if self.classes:
            described["classes"] = {
                "accuracy": self.classes.accuracy.to_dict(),
                "macro_f1": self.classes.macro_f1.to_dict(),
                "confusion": self.classes.confusion.tolist(),
            }
        return described


def exclude_each_other(labels: Shaped[np.ndarray, "studies labels"]) -> bool:
    """Return whether every study has exactly one of three or more labels, as in CC-CCII."""
    return labels.shape[1] > 2 and bool((labels.sum(axis=1) == 1).all())


def score(
    scores: Float[np.ndarray, "studies labels"],
    labels: Shaped[np.ndarray, "studies labels"],
    patient_ids: Sequence[str],
    label_names: Sequence[str],
    points: OperatingPoints,
    *,
    are_exclusive: bool = False,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Scorecard:
    """Return the scorecard of probabilities.

    Args:
        scores: probability of each label.
        labels: 0 or 1.
        patient_ids: studies of one patient are drawn together.
        label_names: in the order of the columns.
        points: chosen on validation studies.
        are_exclusive: the labels exclude each other, the most probable one is the answer.
        num_resamples: of the patients.
        seed: draws them.
    """
    weights = resample_patients(patient_ids, num_resamples=num_resamples, seed=seed)
    weights = np.vstack([np.ones(len(labels)), weights])
    is_taken = scores >= points.thresholds
    support = Support.of_classes(labels, patient_ids)

    def over_labels(
        figure: Callable[..., Float[np.ndarray, " resamples"]], answers: np.ndarray
    ) -> LabelIntervals:
        columns = [figure(a, y, weights) for a, y in zip(answers.T, labels.T, strict=True)]
        table = np.stack(columns, axis=1)
        return summarise(table[0], table[1:], support)

    scaled = with_temperature(scores, points.temperatures)
    return Scorecard(
        label_names=tuple(label_names),
        num_studies=len(labels),
        num_patients=len(set(patient_ids)),
        prevalence=tuple(labels.mean(axis=0).tolist()),
        auroc=over_labels(weighted_auroc, scores),
        average_precision=over_labels(weighted_average_precision, scores),
        f1=over_labels(f1, is_taken),
        balanced_accuracy=over_labels(balanced_accuracy, is_taken),
        calibration_error=_errors(scores, labels),
        scaled_calibration_error=_errors(scaled, labels),
        points=points,
        classes=_classes(scores, labels, weights, patient_ids) if are_exclusive else None,
    )


def _errors(scores: np.ndarray, labels: np.ndarray) -> tuple[float, ...]:
    columns = zip(scores.T, labels.T, strict=True)
    return tuple(expected_calibration_error(s, y) for s, y in columns)


def _classes(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray, patient_ids: Sequence[str]
) -> Classes:
    answer, truth = scores.argmax(axis=1), labels.argmax(axis=1)
    C = labels.shape[1]
    confusion = np.zeros((C, C), dtype=np.int64)
    np.add.at(confusion, (truth, answer), 1)
    accuracy = weights @ (answer == truth) / weights.sum(axis=1)
    occurring = [c for c in range(C) if (truth == c).any()]
    per_class = np.stack([f1(answer == c, labels[:, c], weights) for c in occurring])
    table = np.stack([accuracy, per_class.mean(axis=0)], axis=1)
    support = Support.of_values(np.ones((len(labels), 2), dtype=bool), patient_ids)
    both = summarise(table[0], table[1:], support).per_label
    return Classes(both[0], both[1], confusion)
