"""The masked-volume and the masked-report loss, one voxel and one word at a time."""

import math


def normalise(patch: list[float], eps: float) -> list[float]:
    """MAE's per-patch normalisation, with the unbiased variance."""
    mean = sum(patch) / len(patch)
    variance = sum((v - mean) ** 2 for v in patch) / (len(patch) - 1)
    return [(v - mean) / math.sqrt(variance + eps) for v in patch]


def patch_loss(
    predicted: list[list[float]],
    target: list[list[float]],
    *,
    is_normalised: bool = False,
    is_counted: list[list[bool]] | None = None,
) -> float:
    """Mean squared error over the counted voxels of the hidden patches; 0 without any."""
    total, count = 0.0, 0
    for i, patch in enumerate(target):
        truth = normalise(patch, eps=1e-6) if is_normalised else patch
        for j, value in enumerate(truth):
            if is_counted is None or is_counted[i][j]:
                total += (predicted[i][j] - value) ** 2
                count += 1
    return total / max(count, 1)


def report_loss(word_logits: list[list[float]], words: list[int]) -> float:
    """Mean over the counted words of -log softmax at the true word; 0 without any."""
    total = 0.0
    for logits, word in zip(word_logits, words, strict=True):
        total += math.log(sum(math.exp(x) for x in logits)) - logits[word]
    return total / max(len(words), 1)
