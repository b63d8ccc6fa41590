"""What training asks of the machine: device, precision, memory, and quiet from Lightning."""

import ctypes
import logging
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

from simcrop.errors import ConfigError, DataError, complain

Machine = tuple[str, Literal["32-true", "bf16-mixed"]]
_LARGE_NETWORK = 1 << 28  # bytes of weights
_LARGE_BLOCK = 1 << 23  # bytes
_M_MMAP_THRESHOLD = -3  # of glibc's malloc.h


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


def give_back_large_blocks(network: nn.Module) -> None:
    """Have glibc give blocks of 8 MiB back to the system once freed, where a network is large.

    By itself it keeps blocks of up to 32 MiB for later, and what gradients leave between AdamW's
    averages does not fit activations: a tenth of the memory of the paper's step, for a thirtieth of
    its time. Networks below 256 MiB would lose more time than that and have little to gain. Holds
    for the whole process; other C libraries are left alone.
    """
    weights = sum(p.numel() * p.element_size() for p in network.parameters())
    if weights < _LARGE_NETWORK or sys.platform != "linux":
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


@contextmanager
def quiet_lightning() -> Generator[None]:
    """Keep Lightning's tips, notices and worker advice off the screen; errors stay.

    Raises:
        KeyboardInterrupt: for the exit that Lightning makes of Ctrl-C.
        DataError: as a reading process raised it, without the traceback that it sends along.
    """
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
    except SystemExit as end:
        raise KeyboardInterrupt from end
    except DataError as error:
        raise DataError(str(error).rpartition("DataError: ")[2].strip(), error.kind) from error
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
