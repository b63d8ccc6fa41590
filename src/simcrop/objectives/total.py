"""The total loss: the weighted sum of the terms that are on.

Paper: total objective, all weights 1.
"""

from collections.abc import Mapping

import torch

from simcrop.types import Scalar


def total_loss(terms: Mapping[str, Scalar], weights: Mapping[str, float]) -> Scalar:
    """Return the sum over terms of weight times loss.

    Raises:
        ValueError: if there is no term, or a term has no weight.
    """
    if not terms:
        raise ValueError("no term is on; expected at least one of the losses")
    if missing := set(terms) - set(weights):
        raise ValueError(f"no weight for {sorted(missing)}; expected one per term")
    return torch.stack([weights[name] * loss for name, loss in terms.items()]).sum()
