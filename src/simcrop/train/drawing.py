"""The picture of a run's curves, drawn again in the course of it."""

import logging
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from simcrop.train.moments import made_update, validation_follows
from simcrop.train.run_folder import RunFolder

logger = logging.getLogger(__name__)

LONG_EPOCH = 10  # within an epoch this many times longer than `seconds` it is drawn as well


class DrawCurves(Callback):
    """Draw curves.png after each epoch, but not more often than every so many seconds.

    A picture never ends a run: what goes wrong is logged, once.

    Args:
        run: where the values are and the picture goes.
        updates_per_epoch: after as many an epoch ends.
        seconds: between two drawings.
    """

    def __init__(self, run: RunFolder, updates_per_epoch: int, seconds: float) -> None:
        self.run = run
        self.updates_per_epoch = updates_per_epoch
        self.seconds = seconds
        self._drawn = time.monotonic()
        self._has_failed = False

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Draw after the last update of an epoch, and now and then within a long one."""
        if not made_update(trainer) or validation_follows(trainer):
            return
        is_end = trainer.global_step % self.updates_per_epoch == 0
        self._draw_after(trainer, self.seconds * (1 if is_end else LONG_EPOCH))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw after a validation, which ends an epoch."""
        self._draw_after(trainer, self.seconds)

    def _draw_after(self, trainer: Trainer, seconds: float) -> None:
        if trainer.is_global_zero and time.monotonic() - self._drawn >= seconds:
            self.draw()

    def draw(self) -> None:
        """Draw now."""
        try:
            self.run.draw_curves()
        except Exception as error:  # whatever it is, the weights are worth more
            if not self._has_failed:
                logger.warning("%s was not drawn: %s", self.run.curves, error)
            self._has_failed = True
        self._drawn = time.monotonic()
