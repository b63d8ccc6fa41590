"""Studies that a run could not read: named in skipped_studies.csv, counted, and not too many."""

import logging
import math
from collections.abc import Iterable

import pandas as pd
from lightning.pytorch import Callback, LightningModule, Trainer

from simcrop.data.samples import Batch, SkippedStudy
from simcrop.data.segmentation_crops import CropBatch
from simcrop.errors import TrainingError, complain
from simcrop.train.run_folder import RunFolder

logger = logging.getLogger(__name__)


class SkippedStudies(Callback):
    """Write down the studies that were skipped when a batch was read; stop when they are too many.

    Args:
        run: where to write.
        num_studies: of the training part.
        max_share: of them that may be unreadable; any number above rounds up to one study.
    """

    def __init__(self, run: RunFolder, num_studies: int, max_share: float) -> None:
        self.run = run
        self.num_studies = num_studies
        self.most = math.ceil(max_share * num_studies)
        self._seen = {(split, study) for split, study in _read(run)}

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch | CropBatch, batch_idx: int
    ) -> None:
        """Note what the batch lacks.

        Raises:
            TrainingError: if more than the allowed share has been unreadable in this run.
        """
        self.note(trainer.global_step, "train", batch.skipped)
        num_bad = sum(split == "train" for split, _ in self._seen)
        if batch.skipped and num_bad > self.most:
            raise TrainingError(
                complain(
                    f"{num_bad} of {self.num_studies} training studies could not be read, see "
                    f"{self.run.skipped}",
                    f"at most {self.most} (trainer.max_skipped)",
                    f"Mend the store, then go on: {self.run.resume_command}",
                )
            )

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note what the batch lacks."""
        self.note(trainer.global_step, "val", batch.skipped)

    def note(self, step: int, split: str, skipped: Iterable[SkippedStudy]) -> None:
        """Write down studies that could not be read; the first time each is a warning."""
        for study in skipped:
            self.run.note_skipped(step, split, study)
            if (split, study.study_id) not in self._seen:
                self._seen.add((split, study.study_id))
                instead = "another takes its place" if split == "train" else "it is left out"
                logger.warning(
                    "study %s cannot be read, %s: %s", study.study_id, instead, study.reason
                )


def _read(run: RunFolder) -> list[tuple[str, str]]:
    if not run.skipped.exists():
        return []
    table = pd.read_csv(run.skipped, dtype=str, keep_default_na=False)
    return list(zip(table["split"], table["study_id"], strict=True))
