"""Which quantiles of resamples are a 95 % interval: the further out, the fewer the patients.

The quantiles 2.5 and 97.5 % of a bootstrap are too narrow with few patients: n of them, drawn with
replacement, spread sqrt((n - 1) / n) times as far as they should, and the quantiles are those of
a normal distribution where Student's t is due. The levels are moved outwards to undo both (the
expanded percentile interval: Hesterberg, What Teachers Should Know About the Bootstrap, The
American Statistician 69, 2015):

    level = Phi(-sqrt(n / (n - 1)) t(n - 1))    t: 97.5 % quantile with n - 1 degrees of freedom

n is the number of patients that a figure hangs on. For an AUROC these are the patients of the rarer
class: a hundred patients without a finding do not make five with it more.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Num, Shaped
from scipy.special import ndtr, stdtrit

CONFIDENCE = 0.95


def quantile_levels(num_patients: float | int) -> tuple[float, float]:
    """Return the lower and upper level in [0, 1]; nan with fewer than two patients."""
    if not num_patients > 1:
        return math.nan, math.nan
    quantile = stdtrit(num_patients - 1, (1 + CONFIDENCE) / 2)
    low = float(ndtr(-math.sqrt(num_patients / (num_patients - 1)) * quantile))
    return low, 1 - low


def patients_with(
    is_there: Bool[np.ndarray, "items labels"], patient_ids: Sequence[str]
) -> Int[np.ndarray, " labels"]:
    """Return how many patients have an item of each label."""
    patients, patient_of_item = np.unique(np.asarray(patient_ids), return_inverse=True)
    has = np.zeros((len(patients), is_there.shape[1]), dtype=bool)
    np.logical_or.at(has, patient_of_item, is_there)
    return has.sum(axis=0)


def patients_of_rarer_class(
    labels: Shaped[np.ndarray, "studies labels"], patient_ids: Sequence[str]
) -> Int[np.ndarray, " labels"]:
    """Return the number of patients with, or without, each label, whichever is less.

    A patient with studies of both kinds counts on both sides.
    """
    is_positive = labels.astype(bool)
    return np.minimum(
        patients_with(is_positive, patient_ids), patients_with(~is_positive, patient_ids)
    )


def patients_of_mean(num_patients: Num[np.ndarray, " labels"]) -> float:
    """Return the number for a mean over labels: the harmonic mean of theirs.

    The spread of labels that scatter alike is too small by the mean of their 1 / n.
    """
    counts: Float[np.ndarray, " labels"] = num_patients[num_patients > 0].astype(float)
    return len(counts) / float((1 / counts).sum()) if len(counts) else 0.0
