"""Resume points: files from which a run goes on as if it had never stopped.

    RUN/resume/step_00001500.ckpt   Lightning's file, after 1,500 updates; the last few are kept

A point is written whole or not at all, after the values of its update are in the tables of the
run; it notes how long these tables were, so that a resumed run cuts off what came later and makes
it again. Where a validation follows an update, the point is written after it. A run that is told
to stop does not wait for that: its point says that the validation is still owed.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from simcrop.data.atomic import atomic_path
from simcrop.errors import CheckpointError, complain
from simcrop.train.moments import made_update, validation_follows
from simcrop.train.run_folder import RunFolder, writing

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ResumePoint:
    """Where a run goes on; without a path, from its beginning.

    Attributes:
        path: of Lightning's file.
        step: updates made.
        sizes: bytes of each table of the run when the point was written.
    """

    path: Path | None = None
    step: int = 0
    sizes: Mapping[str, int] = field(default_factory=dict)


def newest_resume_point(run: RunFolder) -> ResumePoint:
    """Return the newest resume point that can be read, or the beginning if none was written.

    Raises:
        CheckpointError: if there are resume points and none can be read.
    """
    paths, reasons = run.resume_points(), []
    for path in paths:
        try:
            held = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
            state = held["callbacks"]["ResumePoints"]
            point = ResumePoint(path, int(held["global_step"]), state["sizes"])
        except (RuntimeError, EOFError, KeyError, TypeError, UnpicklingError, OSError) as error:
            reasons.append(f"{path} cannot be read ({str(error).splitlines()[0]})")
            continue
        for reason in reasons:
            logger.warning("%s; going on from %s", reason, path.name)
        return point
    if reasons:
        raise CheckpointError(
            complain(
                "; ".join(reasons),
                "a file that this run wrote",
                "Start the run anew in another folder.",
            )
        )
    logger.warning("%s has no resume point yet; starting from its beginning", run.folder)
    return ResumePoint()


class WholeFile(TorchCheckpointIO):
    """Write Lightning's file beside its place and rename it when the disk has it.

    Lightning's own way stages it in the system's temporary folder and in memory.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Write the file."""
        with atomic_path(Path(path), durable=True) as temporary, temporary.open("wb") as file:
            torch.save(checkpoint, file)


class ResumePoints(Checkpoint):
    """Write a resume point every n updates and at the end; keep the last few.

    Lightning runs it after all other callbacks.

    Args:
        run: where to write.
        every: updates between two points.
        keep: how many are kept.
    """

    def __init__(self, run: RunFolder, every: int, keep: int) -> None:
        self.run = run
        self.every = every
        self.keep = keep
        self._owes_validation = False
        self._is_due = False
        self._written = -1

    @property
    def state_key(self) -> str:
        """Name of its state in the file."""
        return "ResumePoints"

    def state_dict(self) -> dict[str, Any]:
        """Return what the next start must know."""
        return {"owes_validation": self._owes_validation, "sizes": self.run.table_sizes()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what the last process left."""
        self._owes_validation = state_dict["owes_validation"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the validation that a stopped run left out."""
        if self._owes_validation:
            self._owes_validation = False
            loop = trainer.fit_loop.epoch_loop.val_loop
            loop.restarting = False
            trainer.validating = True
            loop.run()
            trainer.training = True

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Write a point after an update, or leave it to the validation that follows."""
        step = trainer.global_step
        if not made_update(trainer) or step == self._written:
            return
        self._is_due = step % self.every == 0 or step == trainer.max_steps
        if self._is_due and not validation_follows(trainer):
            self.write(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the point that was left to the validation."""
        if self._is_due:
            self.write(trainer)

    def write(self, trainer: Trainer, *, owes_validation: bool = False) -> None:
        """Write a point now, after a complete update, and remove the oldest.

        Raises:
            TrainingError: if it cannot be written; those before it are whole.
        """
        step = trainer.global_step
        self._written, self._is_due = step, False
        self._owes_validation = owes_validation
        with writing(self.run.folder):
            trainer.save_checkpoint(self.run.resume / f"step_{step:08d}.ckpt")
        self._owes_validation = False
        if trainer.is_global_zero:
            for path in self.run.resume_points()[self.keep :]:
                path.unlink()
