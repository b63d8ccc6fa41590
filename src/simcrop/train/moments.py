"""Where a training loop stands, as callbacks ask at the end of a batch."""

from lightning.pytorch import Trainer


def made_update(trainer: Trainer) -> bool:
    """Return whether the batch that has just been trained on completed an update."""
    return (trainer.fit_loop.batch_idx + 1) % trainer.accumulate_grad_batches == 0


def validation_follows(trainer: Trainer) -> bool:
    """Return whether Lightning validates after this batch."""
    every, batches = trainer.val_check_batch, trainer.fit_loop.total_batch_idx + 1
    return trainer.enable_validation and every is not None and batches % every == 0
