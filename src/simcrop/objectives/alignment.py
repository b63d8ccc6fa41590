"""Similarity-driven alignment: each sentence selects the patches it resembles most.

    s_ji = <t_j, v_i> / (|t_j| |v_i|)          similarity_map
    I_j  = indices of the K largest s_ji       select_top_k
    a_j  = 1/K sum_{i in I_j} v_i              pool_patches
    L    = InfoNCE between t_j and a_j         simcrop.objectives.contrast

Selection is hard: it passes no gradient, and each selected patch receives 1/K of that of a_j.
All of it runs in float32 at least, inside autocast too: a temperature of 0.07 stretches
rounding errors fourteenfold, and bfloat16 ties would change the selection.

Paper: section "Similarity-driven alignment".
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def similarity_map(
    patch_embeddings: Float[Tensor, "*batch patches shared"],
    sentence_embeddings: Float[Tensor, "*batch sentences shared"],
) -> Float[Tensor, "*batch sentences patches"]:
    """Return the cosine similarity of every sentence with every patch, in [-1, 1].

    Both inputs are scaled to unit length here. Rows of padded sentences are meaningless; mask
    them with `is_valid` afterwards.
    """
    return _product(_unit(sentence_embeddings), _unit(patch_embeddings).transpose(-1, -2))


def select_top_k(
    similarity: Float[Tensor, "*batch sentences patches"],
    top_k: int,
    is_candidate: Bool[Tensor, "*batch patches"] | None = None,
) -> Bool[Tensor, "*batch sentences patches"]:
    """Return which patches each sentence selects: the K most similar candidates.

    Ties go to the lower index, so the choice is the same on every device. With fewer than K
    candidates all of them are selected; with none, nothing is.

    Raises:
        ValueError: if `top_k` is below 1.
    """
    if top_k < 1:
        raise ValueError(f"top_k {top_k}; a sentence needs at least one patch")
    similarity = similarity.detach()
    if is_candidate is not None:
        similarity = similarity.masked_fill(~is_candidate.unsqueeze(-2), -torch.inf)
    k = min(top_k, similarity.shape[-1])
    kth_best = similarity.topk(k, dim=-1, sorted=False).values.amin(dim=-1, keepdim=True)
    is_above, is_tied = similarity > kth_best, similarity == kth_best
    num_left = k - is_above.sum(dim=-1, keepdim=True)
    selected = is_above | (is_tied & (is_tied.cumsum(dim=-1, dtype=torch.int32) <= num_left))
    return selected if is_candidate is None else selected & is_candidate.unsqueeze(-2)


def pool_patches(
    patch_embeddings: Float[Tensor, "*batch patches shared"],
    selected: Bool[Tensor, "*batch sentences patches"],
) -> Float[Tensor, "*batch sentences shared"]:
    """Return the average of the selected patches of each sentence; zero where none is.

    One matrix product with the selection: the K x E block per sentence is never gathered.
    """
    patch_embeddings = at_least_float32(patch_embeddings)
    counts = selected.sum(dim=-1, keepdim=True).clamp(min=1)
    return _product(selected.to(patch_embeddings.dtype) / counts, patch_embeddings)


def select_regions(
    patch_embeddings: Float[Tensor, "*batch patches shared"],
    sentence_embeddings: Float[Tensor, "*batch sentences shared"],
    top_k: int,
    is_candidate: Bool[Tensor, "*batch patches"] | None = None,
) -> Float[Tensor, "*batch sentences shared"]:
    """Return the region that each sentence selects in the volume of its row."""
    similarity = similarity_map(patch_embeddings, sentence_embeddings)
    return pool_patches(patch_embeddings, select_top_k(similarity, top_k, is_candidate))


def region_logits(
    sentence_embeddings: Float[Tensor, "*batch sentences shared"],
    region_embeddings: Float[Tensor, "*batch regions shared"],
    temperature: float,
) -> Float[Tensor, "*batch sentences regions"]:
    """Return the cosine of every sentence with every region, divided by the temperature."""
    return similarity_map(region_embeddings, sentence_embeddings) / temperature


def at_least_float32(embeddings: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the embeddings in float32, or in float64 where they came in it."""
    return embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))


def _unit(embeddings: Float[Tensor, "*batch shared"]) -> Float[Tensor, "*batch shared"]:
    return F.normalize(at_least_float32(embeddings), dim=-1, eps=1e-8)


def _product(
    left: Float[Tensor, "*batch rows inner"], right: Float[Tensor, "*batch inner columns"]
) -> Float[Tensor, "*batch rows columns"]:
    """Multiply in the precision of the inputs; autocast would do it in bfloat16."""
    with torch.autocast(left.device.type, enabled=False):
        return left @ right
