"""Stop on a signal at the next update, with a resume point: what clusters send before they kill."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from simcrop.errors import SimCroPError

_SIGNALS = ("SIGTERM", "SIGUSR1")  # SLURM's end of time, and its --signal=USR1@SECONDS


class Stopped(SimCroPError):  # noqa: N818 - it is a state of the run, not a mistake
    """The run was asked to stop and left a resume point."""


class StopRequest:
    """The name of the signal that arrived, or None."""

    received: str | None = None

    def tell(self, updates: int, folder: Path) -> None:
        """Say where the run stands.

        Raises:
            Stopped: if a signal arrived.
        """
        if self.received:
            raise Stopped(
                f"stopped by {self.received} after {updates} updates; the resume point is written. "
                f"Go on: simcrop pretrain --resume -o {folder}"
            )


@contextmanager
def stop_on_signals() -> Generator[StopRequest]:
    """Note SIGTERM and SIGUSR1 instead of dying of them; outside the main thread do nothing.

    A second signal of the same kind acts as it did before.
    """
    request = StopRequest()
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {number: signal.getsignal(number) for number in numbers}

    def note(number: int, frame: FrameType | None) -> None:
        request.received = signal.Signals(number).name
        signal.signal(number, before[number])

    try:
        for number in numbers:
            signal.signal(number, note)
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
