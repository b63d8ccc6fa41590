"""What every training run asks of the machine: device, precision, and quiet from Lightning."""

import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import torch

from simcrop.errors import ConfigError, complain

Machine = tuple[str, Literal["32-true", "bf16-mixed"]]


def machine_for(device: str, precision: str) -> Machine:
    """Return Lightning's names for device and precision; auto takes bf16 where a GPU has it.

    Raises:
        ConfigError: if a GPU is asked for and there is none.
    """
    if device == "gpu" and not torch.cuda.is_available():
        raise ConfigError(
            complain("trainer.device = gpu without one", "cpu or auto", "Change the setting.")
        )
    has_gpu = torch.cuda.is_available() and device != "cpu"
    is_bf16 = precision == "bf16"
    if precision == "auto":
        is_bf16 = has_gpu and torch.cuda.is_bf16_supported()
    return "gpu" if has_gpu else "cpu", "bf16-mixed" if is_bf16 else "32-true"


@contextmanager
def quiet_lightning() -> Generator[None]:
    """Keep Lightning's tips, notices and worker advice off the screen; errors stay."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            # What FSDP2 wraps returns views, which nobody here writes into.
            warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
