"""AdamW with a warm-up and a half cosine, counted in updates.

Paper: optimisation as in the masked autoencoder; values in `OptimizerConfig`.
"""

import math
from collections.abc import Callable

import torch
from torch import nn

from simcrop.config import OptimizerConfig


def build_optimizer(module: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Return AdamW over the parameters that train; biases, norms and tokens do not decay."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, fused=config.fused)


def annealed_top_k(start: int, end: int, progress: float) -> int:
    """Return K on its way from `start` to `end`: geometric in `progress`, which ends at 1.

    With every patch selected all of them learn; as K falls, the evidence is left to the patches
    that hold it. A fixed small K starts from whatever patches lie highest before anything is
    learned, and may tie a finding to a place where it is not.
    """
    share = min(1.0, max(0.0, progress))
    return round(start * (end / start) ** share)


def warmup_cosine(warmup: int, length: int) -> Callable[[int], float]:
    """Return the share of the peak learning rate at each update.

    It rises linearly over `warmup` updates, then falls along half a cosine to 0 at `length`
    and stays there.
    """

    def share(update: int) -> float:
        if update < warmup:
            return (update + 1) / warmup
        progress = min(1.0, (update - warmup) / max(1, length - warmup))
        return 0.5 * (1 + math.cos(math.pi * progress))

    return share
