"""Findings from words alone: a positive and a negative sentence compete for the same volume.

A sentence's map is pooled over its K most similar candidate patches, as similarity-driven
pooling does in pre-training, and averaged over wordings. The two sides of a finding meet in a
softmax at the temperature of the training; how well that is calibrated the scorecard says.

Differs: pre-training pools the selected patches' embeddings and then takes a cosine; here the
selected similarities are averaged, which needs the maps only.
"""

import numpy as np
from jaxtyping import Bool, Float


def pool_top_k(
    similarity: Float[np.ndarray, "*batch patches"],
    is_candidate: Bool[np.ndarray, "*#batch patches"],
    top_k: int,
) -> Float[np.ndarray, "*batch"]:
    """Return the mean of the k largest similarities among the candidates of each map.

    With fewer candidates than k all are taken, so a large k is global pooling.

    Raises:
        ValueError: if k is below 1 or a map has no candidate.
    """
    if top_k < 1 or not is_candidate.any(axis=-1).all():
        raise ValueError(f"top_k={top_k}, or a volume without a candidate patch; expected >= 1")
    candidates = np.broadcast_to(is_candidate, similarity.shape)
    descending = -np.sort(np.where(candidates, -similarity, np.inf), axis=-1)
    num_taken = np.minimum(candidates.sum(axis=-1), top_k)
    is_taken = np.arange(similarity.shape[-1]) < num_taken[..., None]
    return np.where(is_taken, descending, 0).sum(axis=-1) / num_taken


def pair_probability(
    positive: Float[np.ndarray, " studies"],
    negative: Float[np.ndarray, " studies"],
    temperature: float,
) -> Float[np.ndarray, " studies"]:
    """Return the softmax of a finding's two pooled similarities, taken at its positive side."""
    return 0.5 * (1 + np.tanh((positive - negative) / (2 * temperature)))
