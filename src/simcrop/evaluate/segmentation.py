"""How well labels of voxels agree with a reference: Dice and three figures of their surfaces.

Per case and class: Dice; HD95, the 95th percentile of the distances from each surface to the
other, the larger direction; average surface distance over both directions; normalised surface
Dice, the share of both surfaces within a tolerance of the other. Distances are in mm and come
from MONAI. Background is no class here.

A class that a case lacks in reference and prediction has no value there and is left out. If only
one of the two has it, Dice and surface Dice are 0 and the distances infinite; means of distances
are over the finite ones, so `ClassScores.num_missed` belongs beside them.

Differs: the authors count background when they choose an epoch, report 0 for classes that a case
lacks and print surface distances that are all zero (method.md 18.19, 18.24).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer
from monai.metrics.utils import get_mask_edges, get_surface_distance

from simcrop.evaluate.intervals import Interval, LabelIntervals, mean_intervals
from simcrop.evaluate.tables import Table, format_interval

MEASURES = ("dice", "hd95_mm", "surface_distance_mm", "surface_dice")
HIGHER_IS_BETTER = {"dice": True, "hd95_mm": False, "surface_distance_mm": False,
                    "surface_dice": True}  # fmt: skip

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Agreement:
    """The figures of one class in one case; nan where it has none."""

    dice: float
    hd95_mm: float
    surface_distance_mm: float
    surface_dice: float


UNDEFINED = Agreement(np.nan, np.nan, np.nan, np.nan)
MISSED = Agreement(0.0, np.inf, np.inf, 0.0)


@dataclass(frozen=True, eq=False)
class CaseScores:
    """The figures of one case, class by class, background left out."""

    case_id: str
    patient_id: str
    classes: tuple[Agreement, ...]

    def values(self, measure: str) -> list[float]:
        """Return one measure of every class."""
        return [getattr(agreement, measure) for agreement in self.classes]


@dataclass(frozen=True)
class ClassScores:
    """The figures of all cases.

    Attributes:
        class_names: background left out.
        measures: means per class and over classes with intervals over patients, by measure.
        over_cases: the same measures averaged over the classes of a case, then over cases, as the
            authors do; classes that few cases have weigh less.
        num_cases: per class, how many cases have it in reference or prediction.
        num_missed: per class, how many of these have it in one of the two only.
    """

    class_names: tuple[str, ...]
    measures: dict[str, LabelIntervals]
    over_cases: dict[str, Interval]
    num_cases: tuple[int, ...]
    num_missed: tuple[int, ...]

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON, with the classes by name."""
        return {
            **{name: one.to_dict(self.class_names) for name, one in self.measures.items()},
            "over_cases": {name: one.to_dict() for name, one in self.over_cases.items()},
            "num_cases": dict(zip(self.class_names, self.num_cases, strict=True)),
            "num_missed": dict(zip(self.class_names, self.num_missed, strict=True)),
        }


def dice_per_class(
    predicted: Integer[np.ndarray, "x y z"],
    reference: Integer[np.ndarray, "x y z"],
    num_classes: int,
) -> Float[np.ndarray, " foreground"]:
    """Return the Dice of classes 1 to `num_classes` - 1; nan where neither has the class."""
    pairs = np.bincount(
        predicted.ravel().astype(np.int64) * num_classes + reference.ravel(),
        minlength=num_classes**2,
    ).reshape(num_classes, num_classes)
    total = (pairs.sum(axis=0) + pairs.sum(axis=1)).astype(float)
    dice = np.divide(2 * np.diag(pairs), total, out=np.full(num_classes, np.nan), where=total > 0)
    return dice[1:]


def score_case(
    predicted: Integer[np.ndarray, "x y z"],
    reference: Integer[np.ndarray, "x y z"],
    spacing_mm: Spacing,
    num_classes: int,
    *,
    case_id: str,
    patient_id: str,
    tolerance_mm: float = 2.0,
) -> CaseScores:
    """Return the figures of every class but background.

    Args:
        predicted: class of every voxel, 0 to `num_classes` - 1.
        reference: likewise.
        spacing_mm: voxel size along the axes of both.
        num_classes: background included.
        case_id: names the case.
        patient_id: cases of one patient are drawn together.
        tolerance_mm: of the surface Dice.

    Raises:
        ValueError: if a voxel has no such class.
    """
    for name, labels in (("predicted", predicted), ("reference", reference)):
        if labels.min() < 0 or labels.max() >= num_classes:
            raise ValueError(
                f"{name} labels from {labels.min()} to {labels.max()}; expected 0 to "
                f"{num_classes - 1}"
            )
    dice = dice_per_class(predicted, reference, num_classes)
    return CaseScores(
        case_id,
        patient_id,
        tuple(
            _agreement(predicted == number, reference == number, value, spacing_mm, tolerance_mm)
            for number, value in enumerate(dice.tolist(), start=1)
        ),
    )


def _agreement(
    predicted: np.ndarray,
    reference: np.ndarray,
    dice: float,
    spacing_mm: Spacing,
    tolerance_mm: float,
) -> Agreement:
    """Return the figures of one class from two masks."""
    if np.isnan(dice):
        return UNDEFINED
    if not (predicted.any() and reference.any()):
        return MISSED
    surfaces = get_mask_edges(predicted, reference)
    there, back = (
        np.asarray(get_surface_distance(*pair, spacing=spacing_mm), dtype=np.float64)
        for pair in (surfaces, surfaces[::-1])
    )
    both = np.concatenate([there, back])
    return Agreement(
        dice,
        float(max(np.percentile(there, 95), np.percentile(back, 95))),
        float(both.mean()),
        float((both <= tolerance_mm).mean()),
    )


def summarise_cases(
    cases: Sequence[CaseScores],
    class_names: Sequence[str],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
) -> ClassScores:
    """Return the means over cases, with intervals over patients.

    Args:
        cases: of all test volumes.
        class_names: background left out.
        num_resamples: of the patients.
        seed: draws them.

    Raises:
        ValueError: if there is no case.
    """
    if not cases:
        raise ValueError("no case to summarise; expected at least one")
    C, patients = len(class_names), [case.patient_id for case in cases]

    def means(values: np.ndarray) -> LabelIntervals:
        finite = np.where(np.isfinite(values), values, np.nan)
        num_columns = finite.shape[1]
        return mean_intervals(
            finite.ravel(),
            np.tile(np.arange(num_columns), len(cases)),
            num_columns,
            [patient for patient in patients for _ in range(num_columns)],
            num_resamples=num_resamples,
            seed=seed,
        )

    tables = {name: np.array([case.values(name) for case in cases]) for name in MEASURES}
    counted = ~np.isnan(tables["dice"])
    return ClassScores(
        tuple(class_names),
        {name: means(values.reshape(len(cases), C)) for name, values in tables.items()},
        {name: means(_mean_of_case(values)[:, None]).mean for name, values in tables.items()},
        tuple(counted.sum(axis=0).tolist()),
        tuple(np.isinf(tables["hd95_mm"]).sum(axis=0).tolist()),
    )


def _mean_of_case(values: np.ndarray) -> np.ndarray:
    """Return the mean over the classes that have a finite value; nan where none has."""
    is_finite = np.isfinite(values)
    number = is_finite.sum(axis=1)
    total = np.where(is_finite, values, 0.0).sum(axis=1)
    return np.divide(total, number, out=np.full(len(values), np.nan), where=number > 0)


def segmentation_table(scores: ClassScores) -> Table:
    """Return one row per class, their mean, and the mean over cases at the end."""
    header = (
        "segmentation", "cases", "missed", "Dice", "HD95 mm", "surface distance mm",
        "surface Dice",
    )  # fmt: skip
    digits = {"dice": 3, "hd95_mm": 1, "surface_distance_mm": 2, "surface_dice": 3}

    def cells(of: Callable[[str], Interval]) -> list[str]:
        return [format_interval(of(name), digits=number) for name, number in digits.items()]

    rows = [
        (name, str(cases), str(missed), *cells(lambda m, i=i: scores.measures[m].per_label[i]))
        for i, (name, cases, missed) in enumerate(
            zip(scores.class_names, scores.num_cases, scores.num_missed, strict=True)
        )
    ]
    rows.append(("mean over classes", "", "", *cells(lambda m: scores.measures[m].mean)))
    rows.append(("mean over cases", "", "", *cells(lambda m: scores.over_cases[m])))
    return Table(header, tuple(rows))
