"""DeLong's test: do two scores rank the studies of one label equally well?

Exact in its variance and without a random number, but it takes studies for independent: where
patients have several, `auroc_differences`, which draws patients, is the one to quote.

Source: DeLong, DeLong, Clarke-Pearson, Biometrics 44 (1988); ranks as in Sun and Xu, IEEE Signal
Processing Letters 21 (2014).
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from scipy.stats import norm, rankdata


class DeLong(NamedTuple):
    """Two AUROCs of the same studies, their difference with a 95 % interval, and its p value."""

    auroc: float
    other_auroc: float
    difference: float
    low: float
    high: float
    p_value: float


def delong(
    scores: Float[np.ndarray, " studies"],
    other_scores: Float[np.ndarray, " studies"],
    labels: Shaped[np.ndarray, " studies"],
) -> DeLong:
    """Compare two scores; all nan with fewer than two positive or negative studies.

    Scores that rank all pairs alike differ by 0 with certainty: the p value is 1.
    """
    is_positive = labels.astype(bool)
    num_positive, num_negative = int(is_positive.sum()), int((~is_positive).sum())
    if min(num_positive, num_negative) < 2:
        return DeLong(*[math.nan] * 6)
    parts = [_placements(s, is_positive) for s in (scores, other_scores)]
    first, second = (float(positives.mean()) for positives, _ in parts)
    gaps = [a - b for a, b in zip(*parts, strict=True)]
    variance = sum(gap.var(ddof=1) / len(gap) for gap in gaps)
    error, difference = math.sqrt(variance), first - second
    if not error:
        p_value = 1.0 if not difference else 0.0
        return DeLong(first, second, difference, difference, difference, p_value)
    reach = norm.ppf(0.975) * error
    p_value = 2 * float(norm.sf(abs(difference) / error))
    return DeLong(first, second, difference, difference - reach, difference + reach, p_value)


def _placements(scores: np.ndarray, is_positive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which share of the other class each positive, and each negative, is ranked well to."""
    positives, negatives = scores[is_positive], scores[~is_positive]
    joint = rankdata(np.concatenate([positives, negatives]))
    m, n = len(positives), len(negatives)
    of_positives = (joint[:m] - rankdata(positives)) / n
    of_negatives = 1 - (joint[m:] - rankdata(negatives)) / m
    return of_positives, of_negatives
