"""Weights to use, written in the course of a run: the last ones, and the best by a figure."""

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from simcrop.config import TrainerConfig
from simcrop.train.metrics_file import MetricsFile
from simcrop.train.moments import made_update
from simcrop.train.run_folder import RunFolder, writing

logger = logging.getLogger(__name__)

Export = Callable[[Path, int, Mapping[str, Any]], None]


class Exports(Callback):
    """Export checkpoint/ every n updates and at the end, best/ after a validation that was better.

    Args:
        run: where to write.
        settings: how often, and the figure with its direction.
        metrics: holds the figures of the last validation.
        export: called by every process with folder, updates made and what config.json is to say.
    """

    def __init__(
        self, run: RunFolder, settings: TrainerConfig, metrics: MetricsFile, export: Export
    ) -> None:
        self.run = run
        self.settings = settings
        self.metrics = metrics
        self.export = export

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Export after every n-th update and the last."""
        step = trainer.global_step
        if made_update(trainer) and (
            step % self.settings.checkpoint_steps == 0 or step == trainer.max_steps
        ):
            with writing(self.run.folder):
                self.export(self.run.checkpoint, step, {})

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Export if the figure is better than the one in best/; the first process decides."""
        about = self._is_better(trainer.is_global_zero)
        if about := trainer.strategy.broadcast(about):
            with writing(self.run.folder):
                self.export(self.run.best, trainer.global_step, about)

    def _is_better(self, is_first: bool) -> dict[str, Any] | None:
        """Return the figure to write down, or None if it is not better."""
        figure = self.settings.best
        if figure is None or not is_first:
            return None
        value = self.metrics.latest.get(figure)
        if value is None:
            known = sorted(name for name in self.metrics.latest if name.startswith("val/"))
            logger.warning("trainer.best = %s is not measured; known: %s", figure, ", ".join(known))
            return None
        if not math.isfinite(value):
            return None
        sign = -1 if self.settings.best_is == "highest" else 1
        best = self.run.best_value()
        if best is not None and not sign * value < sign * best:
            return None
        return {"best": {"figure": figure, "value": value}}
