"""From scores to yes or no: thresholds chosen on validation studies, and what they are worth.

A study counts as positive when its score is at least the threshold.
"""

import math

import numpy as np
from jaxtyping import Float, Shaped

NO_THRESHOLD = 0.5  # where validation has no positive study to choose one by


def best_f1_threshold(
    scores: Float[np.ndarray, " studies"], labels: Shaped[np.ndarray, " studies"]
) -> float:
    """Return the threshold of the best F1; the highest of equals, 0.5 without a positive study.

    It lies midway between two neighbouring scores, so that a later score just below the lowest
    accepted one is not lost to rounding.
    """
    is_positive = labels.astype(bool)
    if not is_positive.any():
        return NO_THRESHOLD
    values = np.unique(scores)[::-1]
    ascending, ascending_true = np.sort(scores), np.sort(scores[is_positive])
    num_taken = len(scores) - np.searchsorted(ascending, values, side="left")
    num_true = len(ascending_true) - np.searchsorted(ascending_true, values, side="left")
    best = int(np.argmax(2 * num_true / (num_taken + is_positive.sum())))
    below = values[best + 1] if best + 1 < len(values) else values[best]
    return float((values[best] + below) / 2)


def f1(
    is_taken: Shaped[np.ndarray, " studies"],
    labels: Shaped[np.ndarray, " studies"],
    weights: Float[np.ndarray, "resamples studies"],
) -> Float[np.ndarray, " resamples"]:
    """Return F1 of yes-or-no answers for every row of weights; nan without a positive study."""
    y = labels.astype(float)
    taken = is_taken.astype(float)
    positives, answers = weights @ y, weights @ taken
    score = 2 * (weights @ (y * taken)) / np.maximum(positives + answers, 1e-12)
    return np.where(positives > 0, score, math.nan)


def balanced_accuracy(
    is_taken: Shaped[np.ndarray, " studies"],
    labels: Shaped[np.ndarray, " studies"],
    weights: Float[np.ndarray, "resamples studies"],
) -> Float[np.ndarray, " resamples"]:
    """Return the mean of sensitivity and specificity; nan where one of the classes is absent."""
    y = labels.astype(float)
    taken = is_taken.astype(float)
    positives, negatives = weights @ y, weights @ (1 - y)
    sensitivity = (weights @ (y * taken)) / np.maximum(positives, 1e-12)
    specificity = (weights @ ((1 - y) * (1 - taken))) / np.maximum(negatives, 1e-12)
    has_both = (positives > 0) & (negatives > 0)
    return np.where(has_both, (sensitivity + specificity) / 2, math.nan)
