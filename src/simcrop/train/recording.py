"""The values of a run, written when they are made, and how fast it goes.

Values are handed to the loggers here, and not by Lightning after its callbacks: a resume point
that is written at the end of an update then finds the rows of that update in metrics.csv, and a
run that is killed at any moment resumes with neither a row lost nor one twice.
"""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import Profiler

from simcrop.data.samples import Batch
from simcrop.train.moments import made_update
from simcrop.train.pretrain import Pretraining


class WaitingTime(Profiler):
    """Measure how long the training loop waits for its loader; the rest is not measured."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._since = 0.0

    def start(self, action_name: str) -> None:
        """Note when the loop asks for a batch."""
        if action_name.endswith("train_dataloader_next"):
            self._since = time.monotonic()

    def stop(self, action_name: str) -> None:
        """Add what it waited."""
        if action_name.endswith("train_dataloader_next"):
            self.seconds += time.monotonic() - self._since

    def summary(self) -> str:
        """Return nothing: the share is logged with the losses."""
        return ""


class Recorder(Callback):
    """Log losses, learning rate and throughput of every n-th update, and each validation.

    Throughput counts the studies of all processes and the time from the end of a batch to the
    end of the next, without validation.

    Args:
        every: updates between two rows.
        waiting: measures the wait for data.
    """

    def __init__(self, every: int, waiting: WaitingTime) -> None:
        self.every = every
        self.waiting = waiting
        self.speed: dict[str, float] = {}
        self._lr = 0.0
        self._studies = 0
        self._seconds = self._since = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._since = time.monotonic()
        self.waiting.seconds = 0.0

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        """Note the learning rate of this update; at its end it is that of the next."""
        self._lr = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count the batch; log after every n-th update."""
        assert isinstance(pl_module, Pretraining)
        now = time.monotonic()
        self._seconds += now - self._since
        self._since = now
        self._studies += len(batch) * trainer.world_size
        if not made_update(trainer) or trainer.global_step % self.every:
            return
        self.speed = {
            "time/studies_per_second": self._studies / self._seconds,
            "time/waiting_share": min(1.0, self.waiting.seconds / self._seconds),
        }
        self._studies, self._seconds, self.waiting.seconds = 0, 0.0, 0.0
        losses = {name: float(value) for name, value in pl_module.logged.items()}
        if losses:  # a batch that was passed over has none
            losses["train/lr"] = self._lr
        _log(trainer, {**losses, **self.speed}, trainer.global_step - 1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the means over the validation studies; stop counting their time."""
        means = trainer.callback_metrics
        values = {name: float(means[name]) for name in means if name.startswith("val/")}
        _log(trainer, values, trainer.global_step)
        self._since = time.monotonic()


def _log(trainer: Trainer, values: dict[str, float], step: int) -> None:
    for logger in trainer.loggers:
        logger.log_metrics(values, step=step)
