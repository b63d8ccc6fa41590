"""The probe without a fit: the labels of the most similar training volumes.

Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", CVPR
2018: neighbours by cosine, weighted by exp(cosine / 0.07). Differs: the training mean is taken off
first, since the features of chests all point much the same way; validation chooses how many vote.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from simcrop.evaluate.held_out import Development, FixedHead, Inputs, fix_head

K_GRID = (5, 10, 20, 50, 100, 200)
DEFAULT_K = 20  # where validation cannot choose
TEMPERATURE = 0.07
_ROWS = 512  # volumes looked up at a time, which bounds memory


@dataclass(frozen=True, eq=False)
class NearestHead:
    """The k nearest training volumes vote, the nearer the more.

    Attributes:
        mean: of the training features.
        directions: the centred training features, unit length.
        labels: of the training volumes.
        k: how many vote.
    """

    mean: Float[np.ndarray, " dim"]
    directions: Float[np.ndarray, "train dim"]
    labels: Float[np.ndarray, "train labels"]
    k: int

    def __call__(self, inputs: Inputs) -> Float[np.ndarray, "volumes labels"]:
        """Return the weighted share of the neighbours that have each label."""
        shares = np.zeros((len(inputs), self.labels.shape[1]))
        queries = _directions(inputs.vectors, self.mean)
        for first in range(0, len(inputs), _ROWS):
            similarity = queries[first : first + _ROWS] @ self.directions.T
            nearest = np.argpartition(-similarity, self.k - 1, axis=1)[:, : self.k]
            near = np.take_along_axis(similarity, nearest, axis=1)
            weights = np.exp((near - near.max(axis=1, keepdims=True)) / TEMPERATURE)
            weights /= weights.sum(axis=1, keepdims=True)
            votes = np.einsum("qk,qkl->ql", weights, self.labels[nearest])
            shares[first : first + _ROWS] = np.clip(votes, 0, 1)
        return shares


def fit_nearest(development: Development, *, k_grid: Sequence[int] = K_GRID) -> FixedHead:
    """Keep the training volumes; validation chooses how many of them vote."""
    train = development.train
    mean = train.inputs.vectors.mean(axis=0)
    directions = _directions(train.inputs.vectors, mean)
    labels = train.labels.astype(float)
    values = sorted({min(k, len(train)) for k in k_grid})
    default = min(values, key=lambda k: abs(k - DEFAULT_K))
    heads = {f"k = {k}": NearestHead(mean, directions, labels, k) for k in values}
    settings = {"head": "nearest", "k_grid": values, "temperature": TEMPERATURE}
    return fix_head(development, heads, default=f"k = {default}", settings=settings)


def _directions(
    vectors: Float[np.ndarray, "volumes dim"], mean: Float[np.ndarray, " dim"]
) -> Float[np.ndarray, "volumes dim"]:
    centred = vectors - mean
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)
