"""Findings from words alone: a positive and a negative sentence compete for the same volume.

A sentence's map is pooled over its K most similar candidate patches, as similarity-driven
pooling does in pre-training; the score of a finding is pooled positive minus pooled negative,
each averaged over its wordings. Scores rank studies (AUROC); they are no probabilities.

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


def zero_shot_scores(
    positive: Float[np.ndarray, "studies positives patches"],
    negative: Float[np.ndarray, "studies negatives patches"],
    is_candidate: Bool[np.ndarray, "studies patches"],
    top_k: int,
) -> Float[np.ndarray, " studies"]:
    """Return each study's score of one finding from the maps of its positive and negative prompts.

    Raises:
        ValueError: as for `pool_top_k`.
    """
    pooled = [
        pool_top_k(maps, is_candidate[:, None], top_k).mean(axis=1) for maps in (positive, negative)
    ]
    return pooled[0] - pooled[1]
