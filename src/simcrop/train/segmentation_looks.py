"""Looks at whole validation volumes during a segmentation run; the best network is kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from lightning.pytorch import Callback, LightningModule, Trainer

from simcrop.data.samples import SkippedStudy
from simcrop.data.segmentation_crops import CropDataset
from simcrop.errors import DataError, complain
from simcrop.evaluate.segmentation import dice_per_class
from simcrop.train.features import Progress
from simcrop.train.segmenter import Segmenter, save_segmenter
from simcrop.train.segmenting import Segmenting
from simcrop.train.skipped import SkippedStudies


class ValidationLooks(Callback):
    """Log updates, score validation volumes now and then and at the end, keep the best network.

    Args:
        segmenter: the network that is trained.
        data: reads volumes and their classes.
        val: the validation volumes; without any the last network is kept.
        skipped: writes down those that cannot be read.
        updates_per_epoch: of the training.
        checkpoint: where the network is kept.
        on_progress: called with (updates done, updates in all, what).
    """

    def __init__(
        self,
        segmenter: Segmenter,
        data: CropDataset,
        val: Sequence[str],
        skipped: SkippedStudies,
        updates_per_epoch: int,
        checkpoint: Path,
        on_progress: Progress,
    ) -> None:
        self.segmenter = segmenter
        self.data = data
        self.val = val
        self.skipped = skipped
        self.every = segmenter.setup.config.trainer.validation_epochs * updates_per_epoch
        self.checkpoint = checkpoint
        self.on_progress = on_progress
        self.best = -1.0

    def state_dict(self) -> dict[str, float]:
        """Return the best score so far, for a resumed run."""
        return {"best": self.best}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Take up the score of the run that is resumed."""
        self.best = state_dict["best"]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Log the update, and look if it is time to; the resume point is written after both."""
        assert isinstance(pl_module, Segmenting)
        step, last, logged = trainer.global_step, trainer.max_steps, pl_module.logged
        if step % self.segmenter.setup.config.trainer.log_steps == 0 or step == last:
            trainer.loggers[0].log_metrics(logged, step - 1)
        loss = logged["train/dice_ce_loss"]
        self.on_progress(step, last, f"segment, loss {loss:.3f}")
        if not self.val:
            if step == last:
                self._keep(step, None)
        elif step % self.every == 0 or step == last:
            per_class = self.look(step)
            score = float(np.ma.masked_invalid(per_class).mean() or 0.0)
            names = self.segmenter.setup.classes.names[1:]
            values = {f"val/dice {n}": v for n, v in zip(names, per_class, strict=True)}
            trainer.loggers[0].log_metrics(
                {"val/dice": score} | {n: v for n, v in values.items() if np.isfinite(v)}, step
            )
            if score > self.best:
                self.best = score
                self._keep(step, score)

    def look(self, step: int) -> Float[np.ndarray, " foreground"]:
        """Return the mean Dice of every class over the validation volumes that have it.

        Raises:
            DataError: if none of them can be read.
        """
        dice = []
        for volume in self.val:
            try:
                hu, reference = self.data.read(volume)
            except (DataError, OSError) as error:
                study = SkippedStudy(self.data.store.study_of(volume), str(error))
                self.skipped.note(step, "val", [study])
                continue
            found = self.segmenter.classes(hu)
            dice.append(dice_per_class(found, reference, len(self.segmenter.setup.classes)))
        if not dice:
            raise DataError(
                complain(
                    f"none of {len(self.val)} validation volumes can be read",
                    "at least one, to choose the network by",
                    f"See {self.skipped.run.skipped}, mend the store, then go on: "
                    f"{self.skipped.run.resume_command}",
                )
            )
        return np.ma.masked_invalid(dice).mean(axis=0).filled(np.nan)

    def _keep(self, step: int, dice: float | None) -> None:
        self.segmenter.training |= {"step": step, "val_dice": dice}
        save_segmenter(self.segmenter, self.checkpoint)
