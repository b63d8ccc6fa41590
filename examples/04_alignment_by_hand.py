"""Similarity-driven alignment step by step, and why its loss alone proves nothing.

    python examples/04_alignment_by_hand.py

Sentences and patches are random vectors here: there is nothing to find. The equations are in
docs/explanation/equations.md.
"""

import torch

from simcrop.objectives.alignment import (
    pool_patches,
    region_logits,
    select_top_k,
    similarity_map,
)
from simcrop.objectives.contrast import AlignmentInput, within_report


def main() -> None:
    generator = torch.Generator().manual_seed(0)
    S, V, E = 20, 686, 768  # sentences, visible patches, width: the paper's setting
    sentences = torch.randn(1, S, E, generator=generator)
    patches = torch.randn(1, V, E, generator=generator)

    # 1. Cosine of every sentence with every patch.
    similarity = similarity_map(patches, sentences)
    print(f"similarities {tuple(similarity.shape)}, best {similarity.max():.2f}")

    # 2. Every sentence selects its K most similar patches; the choice passes no gradient.
    selected = select_top_k(similarity, top_k=32)
    print(f"patches per sentence {selected.sum(dim=-1).unique().item()}")

    # 3. Their average is the region of the sentence.
    regions = pool_patches(patches, selected)

    # 4. Each sentence must prefer its own region to those of the other sentences.
    logits = region_logits(sentences, regions, temperature=0.07)
    own = logits.softmax(dim=-1).diagonal(dim1=1, dim2=2)
    print(f"probability of the own region {own.mean():.2f}, chance {1 / S:.2f}")

    # Nothing was learned and there is nothing to learn, and yet the own region is preferred:
    # each sentence chose patches that happen to resemble it. The loss, in both directions:
    for top_k in (1, 8, 32, V):
        print(f"K = {top_k:3}: loss {loss(patches, sentences, top_k) / 2:.2f} (chance 3.00)")

    # So a falling alignment loss is no evidence of grounding. Compare with the same sentence on
    # another patient's volume, as `simcrop demo` does.


def loss(patches: torch.Tensor, sentences: torch.Tensor, top_k: int) -> float:
    B, S, _ = sentences.shape
    inputs = AlignmentInput(
        patches=patches,
        sentences=sentences,
        is_candidate=torch.ones(patches.shape[:2], dtype=torch.bool),
        keys=torch.arange(S).expand(B, S),  # equal keys would mark equal sentences
        is_valid=torch.ones(B, S, dtype=torch.bool),
        weights=torch.ones(B, S),
    )
    # The two directions are summed.
    return float(within_report(inputs, top_k=top_k, temperature=0.07, reduction="report"))


if __name__ == "__main__":
    main()
