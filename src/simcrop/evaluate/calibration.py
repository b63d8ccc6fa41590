"""Whether a probability means what it says: reliability, calibration error and temperature.

A temperature above 1 pulls every probability towards one half, one below 1 pushes it away. It is
fitted on validation studies, keeps the order of the studies and so leaves every AUROC alone.

Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; here each label is a
yes-or-no question of its own, so the error is that of the probability of "yes".
"""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.optimize import minimize_scalar

NUM_BINS = 10
_EDGE = 1e-7  # probabilities of 0 and 1 have no finite logit
_MAX_LOG_TEMPERATURE = 4.0


class Reliability(NamedTuple):
    """Studies in bins of equal width of the probability.

    Attributes:
        predicted: mean probability in each bin; nan in an empty one.
        observed: share of positive studies in each bin; nan in an empty one.
        count: studies in each bin.
    """

    predicted: Float[np.ndarray, " bins"]
    observed: Float[np.ndarray, " bins"]
    count: Int[np.ndarray, " bins"]


def reliability(
    probabilities: Float[np.ndarray, " studies"],
    labels: Shaped[np.ndarray, " studies"],
    num_bins: int = NUM_BINS,
) -> Reliability:
    """Return what was predicted and what was observed, bin by bin of [0, 1].

    Raises:
        ValueError: if a probability lies outside [0, 1].
    """
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities outside [0, 1]; expected those of a fitted head")
    bins = np.minimum((probabilities * num_bins).astype(int), num_bins - 1)
    count = np.bincount(bins, minlength=num_bins)
    sums = [np.bincount(bins, x, num_bins) for x in (probabilities, labels.astype(float))]
    missing = np.full(num_bins, np.nan)
    predicted, observed = (np.divide(s, count, out=missing.copy(), where=count > 0) for s in sums)
    return Reliability(predicted, observed, count)


def expected_calibration_error(
    probabilities: Float[np.ndarray, " studies"],
    labels: Shaped[np.ndarray, " studies"],
    num_bins: int = NUM_BINS,
) -> float:
    """Return the mean distance of predicted from observed over the studies, in [0, 1].

    Small sets look worse than they are: with n studies in a bin, chance alone adds about
    0.4 / sqrt(n). nan without a study.
    """
    if not len(labels):
        return math.nan
    bins = reliability(probabilities, labels, num_bins)
    gap = np.abs(bins.predicted - bins.observed)
    return float(np.nansum(gap * bins.count) / bins.count.sum())


def fit_temperature(
    probabilities: Float[np.ndarray, " studies"], labels: Shaped[np.ndarray, " studies"]
) -> float:
    """Return the temperature of the smallest log loss; 1 where one of the classes is absent.

    It is sought between exp(-4) and exp(4): perfectly separated studies would ask for 0.
    """
    is_positive = labels.astype(bool)
    if is_positive.all() or not is_positive.any():
        return 1.0
    signed = np.where(is_positive, 1, -1) * _logits(probabilities)

    def log_loss(log_temperature: float) -> float:
        return float(np.logaddexp(0, -signed / math.exp(log_temperature)).mean())

    bounds = (-_MAX_LOG_TEMPERATURE, _MAX_LOG_TEMPERATURE)
    return math.exp(minimize_scalar(log_loss, bounds=bounds, method="bounded").x)


def with_temperature(
    probabilities: Float[np.ndarray, "*shape"], temperature: float | Float[np.ndarray, " labels"]
) -> Float[np.ndarray, "*shape"]:
    """Return probabilities at a temperature, one for all or one for each label."""
    return 0.5 * (1 + np.tanh(_logits(probabilities) / temperature / 2))


def _logits(probabilities: np.ndarray) -> np.ndarray:
    inside = np.clip(probabilities.astype(float), _EDGE, 1 - _EDGE)
    return np.log(inside) - np.log1p(-inside)
