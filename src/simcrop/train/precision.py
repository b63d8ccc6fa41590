"""In which precision a run computes: as set, or where that says auto by what gains."""

import logging
import time

import torch

from simcrop.config import Config
from simcrop.model.transformer import PreNormBlock

_LOG = logging.getLogger(__name__)
_TOKENS, _ROUNDS = 128, 3
_CLEAR_GAIN = 1.25  # below it the choice would hang on the moment


def with_precision(config: Config) -> Config:
    """Return the configuration with `auto` replaced by what was chosen, and log why.

    `auto` takes bf16 on a GPU that has it, and on a CPU that is clearly faster with it, measured
    now on one block of the vision encoder: many CPUs are slower with it, and small networks are
    on all. Several processes on CPUs would measure apart, so they take 32 bits. What was chosen is
    kept in the run's folder, so that a resumed run computes alike.
    """
    settings = config.trainer
    if settings.precision != "auto":
        return config
    if torch.cuda.is_available() and settings.device != "cpu":
        is_bf16 = torch.cuda.is_bf16_supported()
        reason = f"the GPU has {'' if is_bf16 else 'no '}bf16"
    elif settings.num_processes > 1:
        is_bf16, reason = False, "several processes on CPUs must agree"
    else:
        gain = bf16_gain(config)
        is_bf16 = gain > _CLEAR_GAIN
        reason = f"bf16 takes 1/{gain:.2f} of the time of 32-bit on a vision block here"
    chosen = "bf16" if is_bf16 else "32"
    _LOG.info("precision %s: %s", chosen, reason)
    trainer = settings.model_copy(update={"precision": chosen})
    return config.model_copy(update={"trainer": trainer})


def bf16_gain(config: Config) -> float:
    """Return how many times as fast a block of the vision encoder trains in bf16 on this CPU.

    The best of a few rounds counts, in which the two take turns: other work only ever slows.
    """
    size = config.vision_encoder
    with torch.random.fork_rng(devices=[]):
        block = PreNormBlock(size.dim, size.heads, size.mlp_ratio)
        tokens = torch.randn(1, _TOKENS, size.dim)
    best = {False: float("inf"), True: float("inf")}
    for is_bf16 in (False, True) * _ROUNDS:
        start = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=is_bf16):
            block(tokens).square().mean().backward()
        best[is_bf16] = min(best[is_bf16], time.perf_counter() - start)
    return best[False] / best[True]
