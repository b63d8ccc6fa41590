"""Figures of similarity maps against masks, all sentences at once: ranks in numpy, no loops.

All of them are over *body* patches: an encoder likes to store what it knows in empty air, and
leaving air out of the count raises an AUROC by itself.

A patch is a *target* when it holds at least a tenth of the mask voxels that the fullest patch
holds. One rule serves a nodule smaller than a patch, a thin plate and a whole lung; it drops
patches that the mask only grazes, and a mask inside the crop always has a target.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

NUM_THRESHOLDS = 64  # tried for the best Dice, at even quantiles of the similarities


def target_patches(
    mask_share: Float[np.ndarray, "*batch patches"],
    is_body: Bool[np.ndarray, "*batch patches"],
    *,
    min_relative_share: float = 0.1,
) -> Bool[np.ndarray, "*batch patches"]:
    """Return the body patches that hold the finding; 0 takes every patch that it touches."""
    share = np.where(is_body, mask_share, 0)
    fullest = share.max(axis=-1, initial=0, keepdims=True)
    return (share > 0) & (share >= min_relative_share * fullest)


def peak_patches(
    similarity: Float[np.ndarray, "sentences patches"],
    is_body: Bool[np.ndarray, "sentences patches"],
) -> Int[np.ndarray, " sentences"]:
    """Return the index of the most similar body patch; the first of equals."""
    return np.argmax(np.where(is_body, similarity, -np.inf), axis=-1)


def at_peak(
    values: Bool[np.ndarray, "sentences patches"] | Float[np.ndarray, "sentences patches"],
    similarity: Float[np.ndarray, "sentences patches"],
    is_body: Bool[np.ndarray, "sentences patches"],
) -> Bool[np.ndarray, " sentences"] | Float[np.ndarray, " sentences"]:
    """Return what a quantity is at the most similar body patch.

    Of `target_patches` that is the pointing game, of distances the error of the peak.
    """
    peak = peak_patches(similarity, is_body)[..., None]
    return np.take_along_axis(values, peak, axis=-1)[..., 0]


def hit_at_k(
    similarity: Float[np.ndarray, "sentences patches"],
    is_target: Bool[np.ndarray, "sentences patches"],
    is_body: Bool[np.ndarray, "sentences patches"],
    top_k: int,
) -> Float[np.ndarray, " sentences"]:
    """Return the share of targets among the k most similar body patches (all when fewer)."""
    order = np.argsort(np.where(is_body, -similarity, np.inf), axis=-1, kind="stable")
    num_taken = np.minimum(is_body.sum(axis=-1), top_k)
    is_taken = np.arange(similarity.shape[-1]) < num_taken[..., None]
    num_hit = (np.take_along_axis(is_target, order, axis=-1) & is_taken).sum(axis=-1)
    return num_hit / num_taken


def patch_auroc(
    similarity: Float[np.ndarray, "sentences patches"],
    is_target: Bool[np.ndarray, "sentences patches"],
    is_body: Bool[np.ndarray, "sentences patches"],
) -> Float[np.ndarray, " sentences"]:
    """Return the chance that a target is more similar than another body patch, ties half.

    Nan where all body patches are targets, or none.
    """
    order = np.argsort(np.where(is_body, similarity, np.inf), axis=-1, kind="stable")
    first, last = _ties(np.take_along_axis(np.where(is_body, similarity, np.inf), order, axis=-1))
    target = np.take_along_axis(is_target & is_body, order, axis=-1)
    num_target = target.sum(axis=-1)
    below = (target * (first + last) / 2).sum(axis=-1) - num_target * (num_target - 1) / 2
    pairs = num_target * (is_body.sum(axis=-1) - num_target)
    return np.divide(below, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def patch_average_precision(
    similarity: Float[np.ndarray, "sentences patches"],
    is_target: Bool[np.ndarray, "sentences patches"],
    is_body: Bool[np.ndarray, "sentences patches"],
) -> Float[np.ndarray, " sentences"]:
    """Return the average precision over body patches; nan without a target.

    Its chance level is the share of body patches that are targets.
    """
    order = np.argsort(np.where(is_body, -similarity, np.inf), axis=-1, kind="stable")
    _, last = _ties(np.take_along_axis(np.where(is_body, -similarity, np.inf), order, axis=-1))
    target = np.take_along_axis(is_target & is_body, order, axis=-1)
    found = np.take_along_axis(np.cumsum(target, axis=-1), last, axis=-1)
    summed = (target * found / (last + 1)).sum(axis=-1)
    num_target = target.sum(axis=-1)
    missing = np.full(num_target.shape, np.nan)
    return np.divide(summed, num_target, out=missing, where=num_target > 0)


def dice(
    similarity: Float[np.ndarray, "sentences patches"],
    mask_share: Float[np.ndarray, "sentences patches"],
    is_body: Bool[np.ndarray, "sentences patches"],
    threshold: Float[np.ndarray, " sentences"],
) -> Float[np.ndarray, " sentences"]:
    """Return the Dice, counted in voxels, of a mask and the patches at or above a threshold.

    The prediction is whole patches, so a finding smaller than a patch cannot reach 1. Mask voxels
    outside the body count as missed. Nan for an empty mask.
    """
    selected = is_body & (similarity >= threshold[..., None])
    both = (selected * mask_share).sum(axis=-1)
    total = selected.sum(axis=-1) + mask_share.sum(axis=-1)
    is_there = mask_share.any(axis=-1)
    return np.divide(2 * both, total, out=np.full(total.shape, np.nan), where=is_there)


def best_dice_threshold(
    similarity: Float[np.ndarray, "sentences patches"],
    mask_share: Float[np.ndarray, "sentences patches"],
    is_body: Bool[np.ndarray, "sentences patches"],
) -> float:
    """Return the similarity at which the mean Dice of these sentences is best."""
    tried = np.unique(np.quantile(similarity[is_body], np.linspace(0, 1, NUM_THRESHOLDS)))
    everywhere = np.ones(len(similarity))
    means = [dice(similarity, mask_share, is_body, t * everywhere).mean() for t in tried]
    return float(tried[int(np.argmax(means))])


def _ties(
    ordered: Float[np.ndarray, "sentences patches"],
) -> tuple[Int[np.ndarray, "sentences patches"], Int[np.ndarray, "sentences patches"]]:
    """Return the first and the last position of the run of equal values that each belongs to."""
    n = ordered.shape[-1]
    position = np.broadcast_to(np.arange(n), ordered.shape)
    edge = np.ones((*ordered.shape[:-1], 1), dtype=bool)
    is_new = ordered[..., 1:] != ordered[..., :-1]
    is_first = np.concatenate([edge, is_new], axis=-1)
    is_last = np.concatenate([is_new, edge], axis=-1)
    first = np.maximum.accumulate(np.where(is_first, position, 0), axis=-1)
    backwards = np.where(is_last, position, n - 1)[..., ::-1]
    return first, np.minimum.accumulate(backwards, axis=-1)[..., ::-1]
