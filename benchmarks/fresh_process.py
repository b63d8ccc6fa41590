"""Contestants in fresh processes, and the peak memory of what runs in one (Linux)."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

MIB = 1 << 20

T = TypeVar("T")


def in_process(work: Callable[..., T], *arguments: object) -> T:
    """Run a function in a fresh process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def reset_peak() -> float:
    """Forget the peak so far; return the MiB in use now."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> float:
    """Return the largest MiB in use since `reset_peak`."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / MIB
