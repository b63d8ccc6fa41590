"""One step of the segmentation training as a Lightning module; `segment` builds the run around it.

Paper: downstream segmentation (method.md, section 12): Dice and cross-entropy in equal parts, the
softmax and the squares of its values in the Dice, AdamW on all weights.
"""

import math
from typing import NoReturn

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from monai.losses.dice import DiceCELoss
from torch import Tensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from simcrop.data.segmentation_crops import CropBatch
from simcrop.errors import TrainingError, complain
from simcrop.train.optimization import warmup_cosine
from simcrop.train.segmenter import Segmenter


class Segmenting(LightningModule):
    """Crops in, loss out; the network learns as a whole, its encoder included.

    Args:
        segmenter: the network and its setup.
        updates_per_epoch: makes epochs of the schedule into updates.

    Attributes:
        logged: what the last update was like, by its name in metrics.csv.
    """

    def __init__(self, segmenter: Segmenter, updates_per_epoch: int) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.network = segmenter.network
        settings = segmenter.setup.config.optimizer
        self._updates_per_unit = updates_per_epoch if settings.unit == "epochs" else 1
        self.logged: dict[str, float] = {}
        self.loss = DiceCELoss(
            to_onehot_y=True, softmax=True, squared_pred=True, smooth_nr=0.0, smooth_dr=1e-6
        )

    @property
    def num_updates(self) -> int:
        """Updates of the whole run; the learning rate is 0 after the last."""
        return self.segmenter.setup.config.optimizer.length * self._updates_per_unit

    def training_step(self, batch: CropBatch, batch_idx: int) -> Tensor:
        """Return the loss of a batch.

        Raises:
            TrainingError: if it is not finite.
        """
        logits = self.network(batch.voxels).float()
        loss = self.loss(logits, batch.classes)
        if not torch.isfinite(loss):
            self._stop(f"loss {float(loss)}")
        self.logged = {
            "train/dice_ce_loss": float(loss.detach()),
            "train/lr": float(self.trainer.optimizers[0].param_groups[0]["lr"]),
        }
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Look at the gradient before anything is changed by it.

        Raises:
            TrainingError: if its norm is not finite.
        """
        norm = float(get_total_norm([p.grad for p in self.parameters() if p.grad is not None]))
        if not math.isfinite(norm):
            self._stop(f"gradient norm {norm}")

    def _stop(self, found: str) -> NoReturn:
        raise TrainingError(
            complain(
                f"{found} at update {self.global_step}",
                "a finite one",
                "Lower optimizer.lr, or set optimizer.clip=1.",
            )
        )

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and a schedule that ends with the run, whatever its length (18.18)."""
        settings = self.segmenter.setup.config.optimizer
        optimizer = torch.optim.AdamW(
            self.network.parameters(), lr=settings.lr, weight_decay=settings.weight_decay
        )
        share = warmup_cosine(settings.warmup * self._updates_per_unit, self.num_updates)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }
