"""Instance-level contrast: a volume as a whole against reports as wholes.

Not in the paper, which has no term that ties whole volumes to whole reports and whose weak
zero-shot figures are ascribed to that. Symmetric InfoNCE over the batch, as in CLIP, with one
difference: studies whose findings say exactly the same are further positives of each other,
because a stock report of a normal chest fits every normal chest.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from simcrop.objectives.alignment import similarity_map
from simcrop.objectives.contrast import info_nce
from simcrop.types import Scalar


def say_the_same(
    keys: Int[Tensor, "batch sentences"], is_valid: Bool[Tensor, "batch sentences"]
) -> Bool[Tensor, "batch batch"]:
    """Return which reports of the batch have the same sentences in the same order."""
    keys = torch.where(is_valid, keys, torch.full_like(keys, torch.iinfo(keys.dtype).min))
    return (keys[:, None] == keys[None]).all(dim=-1)


def instance_contrast(
    volumes: Float[Tensor, "batch shared"],
    reports: Float[Tensor, "batch shared"],
    is_same: Bool[Tensor, "batch batch"],
    has_report: Bool[Tensor, " batch"],
    temperature: float,
) -> Scalar:
    """Return InfoNCE of volumes and reports, both directions summed, averaged over studies.

    Args:
        volumes: embeddings of whole volumes in the shared space, not yet of unit length.
        reports: the same of whole reports.
        is_same: True where two reports say exactly the same; the diagonal is True.
        has_report: False for studies without findings, which are left out.
        temperature: divides the cosines.

    A batch without a negative pair (one study, or all reports equal) has loss and gradient 0.
    """
    logits = similarity_map(volumes, reports) / temperature
    is_pair = has_report[:, None] & has_report[None]
    is_positive, is_negative = is_same & is_pair, ~is_same & is_pair
    loss = info_nce(logits, is_positive, is_negative)
    loss = loss + info_nce(logits.mT, is_positive, is_negative)
    return loss.sum() / is_negative.any(dim=1).sum().clamp(min=1)
