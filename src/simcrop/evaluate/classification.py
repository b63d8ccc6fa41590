"""How well frozen features separate findings: AUROC, average precision and the linear probe.

Every figure here is a function of scores and 0/1 labels alone. Selection (the strength of the
regularisation) looks at validation studies only; test labels never enter this file's fits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse strength of the L2 penalty, strongest first


def auroc(scores: Float[np.ndarray, " studies"], labels: Shaped[np.ndarray, " studies"]) -> float:
    """Return the chance that a positive study scores above a negative one, ties counting half.

    The rank formula with average ranks; nan when one of the classes is absent.

    Raises:
        ValueError: if a score is not finite or a label is neither 0 nor 1.
    """
    is_positive = _checked(scores, labels)
    positives, negatives = scores[is_positive], np.sort(scores[~is_positive])
    if not len(positives) or not len(negatives):
        return math.nan
    num_below = np.searchsorted(negatives, positives, side="left")
    num_not_above = np.searchsorted(negatives, positives, side="right")
    return float((num_below + num_not_above).mean() / (2 * len(negatives)))


class MeanAuroc(NamedTuple):
    """The macro mean and how many labels it is over."""

    value: float
    num_scored: int


def mean_auroc(
    scores: Float[np.ndarray, "studies labels"], labels: Shaped[np.ndarray, "studies labels"]
) -> MeanAuroc:
    """Return the mean AUROC over the labels that have both classes; nan when there is none."""
    values = [auroc(s, y) for s, y in zip(scores.T, labels.T, strict=True)]
    scored = [value for value in values if not math.isnan(value)]
    return MeanAuroc(float(np.mean(scored)) if scored else math.nan, len(scored))


def average_precision(
    scores: Float[np.ndarray, " studies"], labels: Shaped[np.ndarray, " studies"]
) -> float:
    """Return the average precision; nan without a positive study.

    Its chance level is the prevalence, so print `labels.mean()` beside it.

    Raises:
        ValueError: as for `auroc`.
    """
    is_positive = _checked(scores, labels)
    return float(average_precision_score(is_positive, scores)) if is_positive.any() else math.nan


@dataclass(frozen=True)
class LinearProbe:
    """One logistic regression per label on standardised features.

    Attributes:
        mean, scale: of the training features; a constant feature has scale 1.
        weights, bias: of the standardised features.
        c: inverse strength of the L2 penalty, the same for all labels.
        val_auroc: mean validation AUROC of every tried C; empty when C was not chosen.
    """

    mean: Float[np.ndarray, " dim"]
    scale: Float[np.ndarray, " dim"]
    weights: Float[np.ndarray, "dim labels"]
    bias: Float[np.ndarray, " labels"]
    c: float
    val_auroc: dict[float, float]

    def scores(
        self, features: Float[np.ndarray, "studies dim"]
    ) -> Float[np.ndarray, "studies labels"]:
        """Return the probability of each label, in [0, 1]."""
        logits = (features - self.mean) / self.scale @ self.weights + self.bias
        return 0.5 * (1 + np.tanh(logits / 2))  # the logistic function, without overflow


def fit_linear_probe(
    train_features: Float[np.ndarray, "train dim"],
    train_labels: Shaped[np.ndarray, "train labels"],
    val_features: Float[np.ndarray, "val dim"],
    val_labels: Shaped[np.ndarray, "val labels"],
    *,
    c_grid: Sequence[float] = C_GRID,
    default_c: float = 1e-2,
) -> LinearProbe:
    """Fit the probe on the training studies, with the C of the best mean validation AUROC.

    Of equally good values the strongest regularisation wins. When no label has both classes
    in validation, `default_c` is used. A label with one class in training gets a constant
    score. The fit draws no random number.

    Raises:
        ValueError: if a label is neither 0 nor 1, or a feature is not finite.
    """
    mean, scale = train_features.mean(axis=0), train_features.std(axis=0)
    scale = np.where(scale > 1e-6 * (np.abs(mean) + 1), scale, 1).astype(mean.dtype)
    standardised = (train_features - mean) / scale
    is_positive = _as_bool(train_labels)

    def fit(c: float, val_auroc: dict[float, float]) -> LinearProbe:
        columns = [_fit_label(standardised, column, c) for column in is_positive.T]
        weights, bias = np.stack([w for w, _ in columns], axis=1), np.array([b for _, b in columns])
        return LinearProbe(mean, scale, weights, bias, c, val_auroc)

    has_both = [column.any() and not column.all() for column in _as_bool(val_labels).T]
    if not any(has_both):
        return fit(default_c, {})
    probes = {c: fit(c, {}) for c in sorted(c_grid)}
    val_auroc = {
        c: mean_auroc(probe.scores(val_features), val_labels).value for c, probe in probes.items()
    }
    best = max(val_auroc, key=val_auroc.__getitem__)
    probe = probes[best]
    return LinearProbe(mean, scale, probe.weights, probe.bias, best, val_auroc)


def _fit_label(
    features: Float[np.ndarray, "studies dim"], is_positive: np.ndarray, c: float
) -> tuple[np.ndarray, float]:
    num_positive, num_negative = int(is_positive.sum()), int((~is_positive).sum())
    if not num_positive or not num_negative:
        return np.zeros(features.shape[1]), math.log((num_positive + 0.5) / (num_negative + 0.5))
    model = LogisticRegression(C=c, max_iter=2000).fit(features, is_positive)
    return model.coef_[0].astype(float), float(model.intercept_[0])


def _checked(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} of {scores.size} scores are not finite")
    return _as_bool(labels)


def _as_bool(labels: np.ndarray) -> np.ndarray:
    values = np.unique(labels)
    if not np.isin(values, (0, 1)).all():
        raise ValueError(f"labels hold {values[:5].tolist()}; expected only 0 and 1")
    return labels.astype(bool)
