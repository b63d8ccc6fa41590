"""Pre-training: one step of the algorithm as a Lightning module; `run` builds the run around it.

Every random draw of a step (hidden patches, dropout) is a function of (seed, step, place in the
global batch), as the samples are of (seed, epoch, study): a resumed run repeats what an unbroken
one does, and several processes do what one would.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from simcrop.data.samples import Batch
from simcrop.errors import TrainingError, complain
from simcrop.objectives.total import total_loss
from simcrop.train.global_batch import GlobalBatch, gather_names
from simcrop.train.losses import BatchLosses
from simcrop.train.optimization import build_optimizer, warmup_cosine
from simcrop.train.strategy import shard

OnBadBatch = Callable[[int, Sequence[str], Mapping[str, Tensor]], None]

BAD_IN_A_ROW = 20  # batches passed over one after the other that end a run: it learns no more
_VALIDATION = 2**31  # step numbers from here on belong to validation batches


class _Trained(NamedTuple):
    """What a batch has added to the gradient of its update, and what it said is usual."""

    study_ids: Sequence[str]
    losses: Mapping[str, Tensor]
    moments: tuple[Tensor, Tensor] | None


class Pretraining(BatchLosses):
    """One step of SimCroP: hide, encode, reconstruct, align, add up. Arguments: `BatchLosses`.

    Attributes:
        logged: the losses of the last training batch by their names in the logs; empty after a
            bad one.
    """

    on_bad_batch: OnBadBatch = staticmethod(lambda step, study_ids, losses: None)
    logged: dict[str, Tensor] = {}  # noqa: RUF012 - replaced, never changed

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_update: list[_Trained] = []
        self._gradient_norm = torch.zeros(())
        self._bad_in_a_row = 0

    def total(self, losses: dict[str, Tensor]) -> Tensor:
        """Return the weighted sum of the terms."""
        terms = self.config.terms
        weights = {
            "patch_loss": terms.patch_weight,
            "report_loss": terms.report_weight,
            "alignment_loss": terms.alignment_weight,
            "instance_loss": terms.instance_weight,
        }
        return total_loss(losses, weights)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the total loss of one batch and keep every term; a bad batch gives no gradient.

        What is logged and judged is the loss of the global batch, so all processes agree.

        Raises:
            TrainingError: after a bad loss, where the run is to stop.
        """
        self._batch_in_update = batch_idx % self.config.optimizer.accumulate
        if self._batch_in_update == 0:
            self._in_update = []
        seed, number = self.config.seed, self._batch_number()
        share = self._share(batch)
        losses = self.losses(batch, step_generator(seed, number), share)
        total = self.total(losses)
        found = _over_processes({**losses, "total_loss": total}, share)
        if self._is_usable(found["total_loss"]):
            self.logged = _named("train", found)
            self._in_update.append(_Trained(batch.study_ids, found, self.moments))
            return total
        self._pass_over(
            [_Trained(batch.study_ids, found, None)],
            f"total loss {float(found['total_loss'])}",
            "a finite one, and none above optimizer.largest_loss",
        )
        trained = [p for p in self.simcrop.parameters() if p.requires_grad]
        return torch.stack([parameter.sum() * 0 for parameter in trained]).sum()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Take in what the batches said is usual; leave all alone where none could be used.

        The gradient is that of the global batch, so all processes agree on its norm.

        Raises:
            TrainingError: if it is not finite, where the run is to stop.
        """
        self._gradient_norm = get_total_norm(
            [p.grad for p in self.simcrop.parameters() if p.grad is not None]
        )
        norm = float(_whole(self._gradient_norm))
        if self._in_update and not np.isfinite(norm):
            self._pass_over(self._in_update, f"gradient norm {norm}", "a finite one")
            self._in_update = []
        if not self._in_update:
            optimizer.zero_grad(set_to_none=True)
            return
        self._bad_in_a_row = 0
        moments = [trained.moments for trained in self._in_update if trained.moments is not None]
        if moments:
            patches, sentences = zip(*moments, strict=True)
            self.simcrop.see(torch.stack(patches).sum(dim=0), torch.stack(sentences).sum(dim=0))

    def _pass_over(self, batches: Sequence[_Trained], found: str, expected: str) -> None:
        """Name the studies of batches that cannot be used; all processes call it.

        Raises:
            TrainingError: where the run is to stop, or has used none for too long.
        """
        self.logged = {}
        named = [gather_names(batch.study_ids) for batch in batches]
        for study_ids, batch in zip(named, batches, strict=True):
            self.on_bad_batch(self.global_step, study_ids, batch.losses)
        self._bad_in_a_row += len(batches)
        where = f"{found} at update {self.global_step}"
        if self.config.optimizer.bad_loss == "stop":
            raise TrainingError(
                complain(
                    f"{where}, studies {', '.join(dict.fromkeys(sum(named, ())))}",
                    expected,
                    "See bad_batches.csv; lower optimizer.lr, set optimizer.clip, or resume "
                    "with optimizer.bad_loss=skip in config.yaml.",
                )
            )
        if self._bad_in_a_row >= BAD_IN_A_ROW:
            raise TrainingError(
                complain(
                    f"{self._bad_in_a_row} batches in a row could not be used, the last for its "
                    f"{where}",
                    f"fewer than {BAD_IN_A_ROW}",
                    "See bad_batches.csv; the run has stopped learning. Lower optimizer.lr or set "
                    "optimizer.clip in config.yaml and resume.",
                )
            )

    def _share(self, batch: Batch) -> GlobalBatch:
        num_sentences = batch.sentence_keys.shape[1]
        return GlobalBatch.shared(len(batch), num_sentences, self.device)

    def _is_usable(self, total: Tensor) -> bool:
        largest = self.config.optimizer.largest_loss
        return bool(total.isfinite()) and (largest is None or bool(total <= largest))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the losses of a validation batch; the hidden patches are the same every time."""
        share = self._share(batch)
        generator = step_generator(self.config.seed, _VALIDATION + batch_idx)
        losses = self.losses(batch, generator, share)
        found = _over_processes({**losses, "total_loss": self.total(losses)}, share)
        self.log_dict(_named("val", found), batch_size=share.num_studies, logger=False)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move a batch; one that goes through the networks in parts is moved part by part."""
        return batch if self.config.optimizer.micro_batch else batch.to(device)

    def configure_model(self) -> None:
        """Spread the networks over the processes where the strategy is to do so."""
        if self.device_mesh is not None:
            shard(self.simcrop, self.device_mesh["data_parallel"])

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of the gradient; Lightning's own way refuses fused optimisers in bf16."""
        if gradient_clip_val is not None:
            parameters = self.simcrop.parameters()
            clip_grads_with_norm_(parameters, gradient_clip_val, self._gradient_norm)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and its schedule in updates."""
        settings = self.config.optimizer
        optimizer = build_optimizer(self.simcrop, settings)
        share = warmup_cosine(
            settings.warmup * self._updates_per_unit, settings.length * self._updates_per_unit
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


def _named(split: str, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{split}/{name}": value for name, value in losses.items()}


def _whole(value: Tensor) -> Tensor:
    """Return a value of which every process holds a part."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def _over_processes(values: dict[str, Tensor], share: GlobalBatch) -> dict[str, Tensor]:
    """Return the average of each value over processes, which is that of the global batch."""
    return dict(zip(values, share.mean(torch.stack([*values.values()])), strict=True))


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the generator of one step, alike in every process; no two steps share draws."""
    state = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
