"""A loader whose reading processes leave the signals of a cluster to the process that trains.

`timeout`, torchrun and SLURM send SIGTERM and SIGUSR1 to a whole group of processes. Readers that
died of them would end the run with an error before it can write its resume point. They end with
the process that trains, by its word or when torch's watchdog finds it gone, within five seconds.
"""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

STOP_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGTERM", "SIGUSR1")  # SLURM's end of time, and its --signal=USR1@SECONDS
    if hasattr(signal, name)
)


class Loader(DataLoader):
    """Torch's loader; its reading processes stay and do not hear `STOP_SIGNALS`."""

    def __init__(self, *args: Any, num_workers: int, **kwargs: Any) -> None:
        super().__init__(
            *args,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            worker_init_fn=_ignore,
            **kwargs,
        )

    def __iter__(self) -> Any:
        """Start the readers; a signal waits until they ignore it."""
        with _held_back():
            return super().__iter__()


@contextmanager
def _held_back() -> Generator[None]:
    """Hold the signals back in this thread and in the processes it starts."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ignore(worker: int) -> None:
    """Ignore the signals in a reader, from now on or held back since it was started."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # after torch's own handler of SIGTERM
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
