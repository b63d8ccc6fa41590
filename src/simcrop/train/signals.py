"""Stop on a signal, with a resume point: what clusters send before they kill."""

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from simcrop.errors import SimCroPError
from simcrop.train.loader import STOP_SIGNALS
from simcrop.train.moments import made_update, validation_follows
from simcrop.train.resume_points import ResumePoints

_ECHO_SECONDS = 5.0  # `timeout` signals its child and then its group; SLURM, torchrun and a rank
_Handler = Callable[[int, FrameType | None], Any] | int | None


class Stopped(SimCroPError):  # noqa: N818 - it is a state of the run, not a mistake
    """The run was asked to stop and left a resume point."""


class StopOnSignal(Callback):
    """Note SIGTERM and SIGUSR1 instead of dying of them; end the run after the next batch.

    It listens from the set-up to the last batch, in place of Lightning, which would end the run at
    the next batch, between two updates. A second signal of the same kind is an echo of the first
    within five seconds, and later acts as it did before. Outside the main thread nothing is noted.

    Args:
        points: writes the resume point.
    """

    def __init__(self, points: ResumePoints) -> None:
        self.points = points
        self._received: str | None = None
        self._stopped_by: str | None = None
        self._before: dict[int, _Handler] = {}
        self._noted: dict[int, float] = {}

    def raise_if_stopped(self, updates: int) -> None:
        """Say where the run stands.

        Raises:
            Stopped: if a signal ended it and the resume point was written.
        """
        if self._stopped_by:
            raise Stopped(
                f"stopped by {self._stopped_by} after {updates} updates; the resume point is "
                f"written. Go on: {self.points.run.resume_command}"
            )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Begin to listen, and keep Lightning from it, which would do so when all is set up."""
        if threading.current_thread() is not threading.main_thread():
            return
        trainer._signal_connector.register_signal_handlers = lambda: None
        for number in STOP_SIGNALS:
            self._before[number] = signal.signal(number, self._note)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """After an update: if any process has a signal, write a resume point and end the run.

        A validation that would follow now is left to the run that resumes: the time is short.
        """
        if self._must_stop(trainer):
            self._write(trainer, owes_validation=validation_follows(trainer))
            trainer.should_stop = True
            trainer.limit_val_batches = 0  # Lightning validates when it is told to stop

    def on_validation_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Do the same amid a validation, which may take longer than the time that is left.

        Raises:
            Stopped: as Lightning would go on to the last batch.
        """
        if self._must_stop(trainer):
            self._write(trainer, owes_validation=True)
            self.raise_if_stopped(trainer.global_step)

    def _must_stop(self, trainer: Trainer) -> bool:
        """Return whether a process has a signal and a resume point can be written now.

        After the last update there is nothing to resume, and between two none can be written.
        """
        is_last = trainer.should_stop or trainer.global_step >= trainer.max_steps
        if is_last or not made_update(trainer):
            return False
        return trainer.strategy.reduce_boolean_decision(self._received is not None, all=False)

    def _write(self, trainer: Trainer, *, owes_validation: bool) -> None:
        self.points.write(trainer, owes_validation=owes_validation)
        self._stopped_by = self._received or "a signal to another process"

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back."""
        self._give_back()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Give the signals back."""
        self._give_back()

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._noted.setdefault(number, now) > _ECHO_SECONDS:
            signal.signal(number, self._before[number])
            signal.raise_signal(number)
        self._received = signal.Signals(number).name

    def _give_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
