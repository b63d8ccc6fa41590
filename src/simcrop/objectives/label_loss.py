"""The loss of a classification head.

Paper: downstream classification; binary cross-entropy for labels that may occur together,
cross-entropy for those that exclude each other; no weights of classes (method.md, section 11).
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from simcrop.types import Scalar


def label_loss(
    logits: Float[Tensor, "batch labels"],
    labels: Float[Tensor, "batch labels"],
    *,
    are_exclusive: bool,
) -> Scalar:
    """Return the mean loss over volumes (and labels, where they may occur together)."""
    if are_exclusive:
        return F.cross_entropy(logits, labels)
    return F.binary_cross_entropy_with_logits(logits, labels)


def label_probabilities(
    logits: Float[Tensor, "batch labels"], *, are_exclusive: bool
) -> Float[Tensor, "batch labels"]:
    """Return the probabilities that `label_loss` is the log loss of."""
    return logits.softmax(dim=1) if are_exclusive else logits.sigmoid()
