"""Similarity, selection and pooling, one sentence and one patch at a time."""

import torch
from torch import Tensor


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """s = <a, b> / (|a| |b|)."""
    return (a * b).sum() / ((a * a).sum().sqrt() * (b * b).sum().sqrt())


def similarity_map(patches: Tensor, sentences: Tensor) -> Tensor:
    """s_ji for every sentence j and patch i of one volume."""
    return torch.stack([torch.stack([cosine(t, v) for v in patches]) for t in sentences])


def select_top_k(similarities: list[float], top_k: int, is_candidate: list[bool]) -> list[int]:
    """I_j: indices of the K largest among the candidates; ties go to the lower index."""
    candidates = [i for i, allowed in enumerate(is_candidate) if allowed]
    return sorted(candidates, key=lambda i: (-similarities[i], i))[:top_k]


def pool_patches(patches: Tensor, chosen: list[int]) -> Tensor:
    """a_j = 1/K sum of the selected patches."""
    total = torch.zeros_like(patches[0])
    for i in chosen:
        total = total + patches[i]
    return total / max(len(chosen), 1)


def region(sentence: Tensor, patches: Tensor, top_k: int, is_candidate: list[bool]) -> Tensor:
    """The region that a sentence selects in one volume."""
    similarities = [cosine(sentence, v).item() for v in patches]
    return pool_patches(patches, select_top_k(similarities, top_k, is_candidate))
