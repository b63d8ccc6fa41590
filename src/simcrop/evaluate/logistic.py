"""The probe that draws no random number: logistic regression on standardised features.

One per label, or one softmax over labels that exclude each other. Exact to the optimiser's
tolerance, so two runs differ by their features alone; validation chooses the penalty.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from simcrop.evaluate.held_out import Development, FixedHead, Inputs, fix_head

C_GRID = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse strength of the L2 penalty, strongest first
DEFAULT_C = 1e-2  # where validation cannot choose


@dataclass(frozen=True, eq=False)
class LogisticHead:
    """Logits linear in standardised features.

    Attributes:
        mean, scale: of the training features; a constant feature has scale 1.
        weights, bias: of the standardised features.
        are_exclusive: softmax over the labels instead of a logistic function of each.
    """

    mean: Float[np.ndarray, " dim"]
    scale: Float[np.ndarray, " dim"]
    weights: Float[np.ndarray, "dim labels"]
    bias: Float[np.ndarray, " labels"]
    are_exclusive: bool

    def __call__(self, inputs: Inputs) -> Float[np.ndarray, "volumes labels"]:
        """Return the probability of each label."""
        logits = (inputs.vectors - self.mean) / self.scale @ self.weights + self.bias
        return softmax(logits, axis=1) if self.are_exclusive else expit(logits)


def fit_logistic(development: Development, *, c_grid: Sequence[float] = C_GRID) -> FixedHead:
    """Fit on the training volumes, with the C that validation likes best.

    Of equally good values the strongest penalty wins. A label that has one class only in
    training gets a constant score.
    """
    train = development.train
    vectors = train.inputs.vectors
    mean, scale = vectors.mean(axis=0), vectors.std(axis=0)
    scale = np.where(scale > 1e-6 * (np.abs(mean) + 1), scale, 1).astype(mean.dtype)
    standardised = (vectors - mean) / scale
    fit = _fit_classes if development.are_exclusive else _fit_labels

    def head(c: float) -> LogisticHead:
        weights, bias = fit(standardised, train.labels.astype(bool), c)
        return LogisticHead(mean, scale, weights, bias, development.are_exclusive)

    values = sorted({*c_grid} if development.val else {DEFAULT_C})
    default = min(values, key=lambda c: abs(math.log(c / DEFAULT_C)))
    return fix_head(
        development,
        {_name(c): head(c) for c in values},
        default=_name(default),
        settings={"head": "logistic", "c_grid": values},
    )


def _name(c: float) -> str:
    return f"C = {c:g}"


def _fit_labels(
    features: Float[np.ndarray, "volumes dim"], labels: Bool[np.ndarray, "volumes labels"], c: float
) -> tuple[np.ndarray, np.ndarray]:
    columns = [_fit_label(features, is_positive, c) for is_positive in labels.T]
    return np.stack([w for w, _ in columns], axis=1), np.array([b for _, b in columns])


def _fit_label(
    features: Float[np.ndarray, "volumes dim"], is_positive: Bool[np.ndarray, " volumes"], c: float
) -> tuple[np.ndarray, float]:
    num_positive, num_negative = int(is_positive.sum()), int((~is_positive).sum())
    if not num_positive or not num_negative:
        return np.zeros(features.shape[1]), math.log((num_positive + 0.5) / (num_negative + 0.5))
    model = LogisticRegression(C=c, max_iter=2000).fit(features, is_positive)
    return model.coef_[0].astype(float), float(model.intercept_[0])


def _fit_classes(
    features: Float[np.ndarray, "volumes dim"], labels: Bool[np.ndarray, "volumes labels"], c: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return one softmax; a class that training lacks has as good as no probability."""
    answer = labels.argmax(axis=1)
    present = np.unique(answer)
    weights = np.zeros((features.shape[1], labels.shape[1]))
    bias = np.full(labels.shape[1], -math.log(2 * len(labels) + 1))
    bias[present] = 0
    if len(present) > 1:
        model = LogisticRegression(C=c, max_iter=2000).fit(features, answer)
        coefficients, intercept = model.coef_.T, model.intercept_
        if len(present) == 2:  # sklearn has one logit then: that of the second class
            coefficients = np.concatenate([np.zeros_like(coefficients), coefficients], axis=1)
            intercept = np.array([0.0, intercept[0]])
        weights[:, present], bias[present] = coefficients, intercept
    return weights, bias
