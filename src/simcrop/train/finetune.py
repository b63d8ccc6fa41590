"""Fine-tuning: encoder and linear head trained together on labels; validation keeps an epoch.

The authors report none; it shows what is left to gain when the encoder may move. Everything else
is as in the probe: parts by patient, the best epoch by validation, test volumes seen once, by a
head that is fixed.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from simcrop.config import FinetuneConfig
from simcrop.data.augmentation import generator_for
from simcrop.data.preprocessing import center_place
from simcrop.data.samples import Augmentation, random_view
from simcrop.data.store import Store
from simcrop.data.views import view_of
from simcrop.evaluate.held_out import Development, Part, selection_score
from simcrop.model.heads import LinearHead
from simcrop.objectives.label_loss import label_loss, label_probabilities
from simcrop.train.datamodule import BatchStream
from simcrop.train.machine import machine_for, quiet_lightning
from simcrop.train.optimization import warmup_cosine
from simcrop.train.pooling import pool
from simcrop.train.pretrained import Pretrained

Progress = Callable[[int, int, str], None]


class LabelledVolumes(Dataset[tuple[Tensor, Tensor]]):
    """Crops of some volumes with their labels, indexed by (epoch, position).

    Args:
        store: where the volumes are.
        part: which ones, and their labels.
        pretrained: gives contract and augmentation.
        seed: of the random crops; None gives the centre crop.
    """

    def __init__(self, store: Store, part: Part, pretrained: Pretrained, seed: int | None) -> None:
        self._store = store
        self._part = part
        self._contract = pretrained.contract
        drawn = set(Augmentation.__dataclass_fields__)  # what else is set there concerns words
        settings = pretrained.config.augmentation.model_dump(include=drawn)
        self._augmentation = Augmentation(**settings)
        self._seed = seed

    def __len__(self) -> int:
        return len(self._part)

    def __getitem__(self, index: tuple[int, int]) -> tuple[Tensor, Tensor]:
        epoch, position = index
        hu, _ = self._store.read_hu(self._part.volume_ids[position])
        if self._seed is None:
            seen = view_of(hu, center_place(hu.shape, self._contract), self._contract)
        else:
            rng = generator_for(self._seed, epoch, position)
            seen = random_view(hu, self._contract, self._augmentation, rng)
        labels = torch.from_numpy(self._part.labels[position]).float()
        return torch.from_numpy(seen.voxels), labels


class Finetuning(LightningModule):
    """The training step, and the state of the best epoch.

    Attributes:
        encoder: of a checkpoint.
        head: starts from nothing.
        best_epoch: counted from 1; of the state that `keep_best` puts back.
        val_scores: of every epoch.
    """

    def __init__(
        self,
        pretrained: Pretrained,
        part: Development,
        config: FinetuneConfig,
        feature: str,
        updates: int,
        on_update: Callable[[int, int], None],
    ) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(pretrained.simcrop.vision_encoder).requires_grad_(True)
        self.head = LinearHead(self.encoder.dim, len(part.label_names))
        self.best_epoch = 0
        self.val_scores: list[float] = []
        self._grid, self._reach = pretrained.grid, pretrained.simcrop.reach
        self._part, self._settings, self._feature = part, config, feature
        self._updates, self._on_update = updates, on_update
        self._best: dict[str, Tensor] = {}
        self._on_val: list[Tensor] = []

    def forward(self, voxels: Float[Tensor, "batch x y z"]) -> Float[Tensor, "batch labels"]:
        """Return the logits."""
        encoded = self.encoder(self._grid.cut(voxels), reach=self._reach)
        return self.head(pool(encoded, self._feature))

    def training_step(self, batch: Sequence[Tensor], batch_idx: int) -> Tensor:
        """Return the loss."""
        voxels, labels = batch
        self._on_update(self.global_step + 1, self._updates)
        return label_loss(self(voxels), labels, are_exclusive=self._part.are_exclusive)

    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> None:
        """Keep the probabilities."""
        logits = self(batch[0]).double()
        probabilities = label_probabilities(logits, are_exclusive=self._part.are_exclusive)
        self._on_val.append(probabilities.cpu())

    def on_validation_epoch_end(self) -> None:
        """Keep the state, if validation has not liked an earlier one as much."""
        score = selection_score(torch.cat(self._on_val).numpy(), self._part.val)
        self._on_val.clear()
        if score > max(self.val_scores, default=-math.inf):
            self.best_epoch = len(self.val_scores) + 1
            self._best = {name: t.detach().cpu().clone() for name, t in self.state_dict().items()}
        self.val_scores.append(score)

    def keep_best(self) -> None:
        """Put back the best state; the last one, where validation could not say."""
        if self._best:
            self.load_state_dict(self._best)
        self.best_epoch = self.best_epoch or self._settings.epochs

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with a rate for each of the two and a schedule in updates."""
        config = self._settings
        groups: list[dict[str, Any]] = []
        for network, lr in ((self.encoder, config.lr), (self.head, config.head_lr)):
            parameters = [p for p in network.parameters() if p.requires_grad]
            for is_matrix, decay in ((True, config.weight_decay), (False, 0.0)):
                chosen = [p for p in parameters if (p.ndim > 1) == is_matrix]
                groups.append({"params": chosen, "lr": lr, "weight_decay": decay})
        optimizer = torch.optim.AdamW(groups)
        share = warmup_cosine(round(config.warmup_share * self._updates), self._updates)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def finetune_encoder(
    pretrained: Pretrained,
    store: Store,
    part: Development,
    config: FinetuneConfig,
    *,
    feature: str,
    seed: int = 0,
    device: str = "cpu",
    on_progress: Progress = lambda done, total, what: None,
) -> Finetuning:
    """Train a copy of the encoder with a head on the training volumes; the best epoch is kept."""
    stream = BatchStream(len(part.train), config.batch_size, seed)
    updates = config.epochs * stream.batches_per_epoch
    torch.manual_seed(seed)
    module = Finetuning(
        pretrained, part, config, feature, updates,
        lambda done, total: on_progress(done, total, "fine-tune"),
    )  # fmt: skip
    train = LabelledVolumes(store, part.train, pretrained, seed)
    val = LabelledVolumes(store, part.val, pretrained, None)
    rows = np.array_split(np.arange(len(val)), max(1, -(-len(val) // config.batch_size)))
    val_batches = [[(0, int(row)) for row in batch] for batch in rows if len(batch)]
    accelerator, precision = machine_for("cpu" if device == "cpu" else "gpu", "auto")
    with quiet_lightning():
        trainer = Trainer(
            accelerator=accelerator,
            devices=1,
            precision=precision,
            max_steps=updates,
            max_epochs=-1,
            gradient_clip_val=config.clip,
            logger=False,
            enable_checkpointing=False,
            val_check_interval=stream.batches_per_epoch if val_batches else None,
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        val_loader = DataLoader(val, batch_sampler=val_batches) if val_batches else None
        trainer.fit(module, DataLoader(train, batch_sampler=stream), val_loader)
    module.keep_best()
    return module.eval()


def tuned(pretrained: Pretrained, module: Finetuning) -> tuple[Pretrained, nn.Module]:
    """Return the pre-trained model with the tuned encoder in place, and the head."""
    simcrop = copy.deepcopy(pretrained.simcrop)
    simcrop.vision_encoder.load_state_dict(module.encoder.state_dict())
    device = next(pretrained.simcrop.parameters()).device
    copied = copy.copy(pretrained)
    copied.simcrop = simcrop.to(device).eval()
    return copied, module.head
