"""ROC and precision-recall curves of resampled patients, read off on a common axis."""

import numpy as np
from jaxtyping import Float, Shaped

PERCENTILES = (2.5, 97.5)


def roc_band(
    scores: Float[np.ndarray, " studies"],
    labels: Shaped[np.ndarray, " studies"],
    weights: Float[np.ndarray, "resamples studies"],
    grid: Float[np.ndarray, " points"],
) -> Float[np.ndarray, "2 points"]:
    """Return the 95 % band of the true positive rate at each false positive rate of the grid.

    Resamples without one of the classes are left out; all nan where none is left.
    """
    true, false = _counts(scores, labels, weights)
    rows = [
        np.interp(grid, f / f[-1], t / t[-1])
        for t, f in zip(true, false, strict=True)
        if t[-1] and f[-1]
    ]
    return _band(rows, len(grid))


def precision_band(
    scores: Float[np.ndarray, " studies"],
    labels: Shaped[np.ndarray, " studies"],
    weights: Float[np.ndarray, "resamples studies"],
    grid: Float[np.ndarray, " points"],
) -> Float[np.ndarray, "2 points"]:
    """Return the 95 % band of the precision at each recall of the grid, likewise.

    The precision is that of the highest threshold that reaches the recall.
    """
    true, false = _counts(scores, labels, weights)
    rows = []
    for t, f in zip(true, false, strict=True):
        if t[-1]:
            reached = np.searchsorted(t / t[-1], grid, side="left")
            taken = t[reached] + f[reached]
            rows.append(np.divide(t[reached], taken, out=np.ones(len(grid)), where=taken > 0))
    return _band(rows, len(grid))


def _counts(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weight of positives and of negatives at or above every distinct score, from 0."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    y = labels[order].astype(bool)
    ordered = weights[:, order]
    counts = [np.cumsum(ordered * is_class, axis=1)[:, ends] for is_class in (y, ~y)]
    true, false = (np.pad(count, ((0, 0), (1, 0))) for count in counts)
    return true, false


def _band(rows: list[np.ndarray], num_points: int) -> np.ndarray:
    if not rows:
        return np.full((2, num_points), np.nan)
    return np.percentile(np.stack(rows), PERCENTILES, axis=0)
