"""Pre-training: one step of the algorithm as a Lightning module; `run` builds the run around it.

Every random draw of a step (hidden patches, dropout) is a function of (seed, step, process), as
the samples are of (seed, epoch, study), so a resumed run repeats what an unbroken one does.
"""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Bool
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer

from simcrop.config import Config
from simcrop.data.samples import Batch
from simcrop.errors import TrainingError, complain
from simcrop.model.patch_masking import PatchMasking, gather, mask_patches
from simcrop.model.simcrop import SecondPass, SimCroP, SimCroPInput, SimCroPOutput
from simcrop.model.text_encoder import TextEncoder
from simcrop.objectives.contrast import NEGATIVES, AlignmentInput
from simcrop.objectives.instance_contrast import instance_contrast, say_the_same
from simcrop.objectives.reconstruction import patch_loss
from simcrop.objectives.report_modelling import counted_words, report_loss
from simcrop.objectives.total import total_loss
from simcrop.train.optimization import annealed_top_k, build_optimizer, warmup_cosine

OnBadBatch = Callable[[int, Batch, Mapping[str, Tensor]], None]

_VALIDATION = 2**31  # step numbers from here on belong to validation batches


class Pretraining(LightningModule):
    """One step of SimCroP: hide, encode, reconstruct, align, add up.

    Args:
        config: the whole tree.
        simcrop: the networks that train.
        text_encoder: the frozen BERT.
        vocabulary: ids of the words that the text decoder predicts, sorted.
        unknown_id: the id of [UNK], which stands for words outside the vocabulary.
        updates_per_epoch: makes epochs of the schedule into updates.

    Attributes:
        logged: the losses of the last training batch by their names in the logs; empty after a
            bad one.
    """

    word_class: Tensor

    def __init__(
        self,
        config: Config,
        simcrop: SimCroP,
        text_encoder: TextEncoder,
        vocabulary: Tensor,
        unknown_id: int,
        updates_per_epoch: int = 1,
    ) -> None:
        super().__init__()
        self.config = config
        self.simcrop = simcrop
        self.vocabulary = vocabulary
        # In a tuple it is no submodule: it has no place in optimiser, resume file or DDP.
        self._frozen = (text_encoder,)
        unknown = int(torch.searchsorted(vocabulary, unknown_id))
        word_class = torch.full((text_encoder.vocabulary_size,), unknown)
        word_class[vocabulary] = torch.arange(len(vocabulary))
        self.register_buffer("word_class", word_class, persistent=False)
        self._batch_in_update = 0
        self.logged: dict[str, Tensor] = {}
        self.on_bad_batch: OnBadBatch = lambda step, batch, losses: None
        self._updates_per_unit = updates_per_epoch if config.optimizer.unit == "epochs" else 1

    @property
    def text_encoder(self) -> TextEncoder:
        """The frozen text encoder."""
        return self._frozen[0]

    def losses(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """Return the loss of every term that is on, by its name in the logs."""
        config, grid = self.config, self.simcrop.grid
        ratio = config.masking.patch_ratio
        drawn = mask_patches(len(batch), grid.num_patches, ratio, generator)
        masking = PatchMasking(*(index.to(self.device) for index in drawn))
        is_counted = counted_words(
            batch.is_masked, batch.report_is_valid, config.terms.report_positions
        )
        inputs = self.inputs(batch, is_counted)
        output = self.simcrop(inputs, masking, self._second_pass(len(batch), generator))
        losses = {}
        if output.predicted_patches is not None:
            losses["patch_loss"] = self._patch_loss(
                output.predicted_patches, inputs, batch, masking
            )
        if output.word_logits is not None:
            words = self.word_class[batch.report_ids[is_counted]]
            losses["report_loss"] = report_loss(output.word_logits, words)
        if self.config.terms.alignment:
            losses["alignment_loss"] = self._alignment_loss(output, batch)
        if self.config.terms.instance_contrast:
            losses["instance_loss"] = self._instance_loss(output, batch)
        return losses

    def inputs(self, batch: Batch, is_counted: Bool[Tensor, "batch report_words"]) -> SimCroPInput:
        """Return what the networks see of a batch; the counted words are those to predict."""
        return SimCroPInput(
            patches=self.simcrop.grid.cut(batch.voxels),
            findings_states=batch.findings_states,
            sentence_of_word=batch.sentence_of_word,
            num_sentences=batch.sentence_keys.shape[1],
            report_states=self._report_states(batch),
            report_is_valid=batch.report_is_valid,
            report_is_counted=is_counted,
        )

    def _second_pass(self, num_studies: int, generator: torch.Generator) -> SecondPass | None:
        """Return the patches of the alignment's own pass in this batch; None shares the first."""
        settings = self.config.alignment
        if settings.volume_pass == "masked":
            return None
        if self.training and self._batch_number() % settings.pass_every:
            return None
        if not settings.pass_ratio:
            return SecondPass()
        num_patches = self.simcrop.grid.num_patches
        drawn = mask_patches(num_studies, num_patches, settings.pass_ratio, generator)
        return SecondPass(drawn.visible.to(self.device))

    def _report_states(self, batch: Batch) -> Tensor:
        """Return the states of the masked report, cached or computed now."""
        if batch.report_states is not None:
            return batch.report_states
        encoder = self.text_encoder
        if next(encoder.parameters()).device != self.device:
            encoder.to(self.device)
        if not batch.masked_ids.shape[1]:
            return batch.findings_states.new_zeros(len(batch), 0, encoder.dim)
        return encoder(batch.masked_ids, batch.report_is_valid)

    def _patch_loss(
        self, predicted: Tensor, inputs: SimCroPInput, batch: Batch, masking: PatchMasking
    ) -> Tensor:
        terms, is_counted = self.config.terms, None
        if not terms.count_padding and batch.is_padding.any():
            is_real = self.simcrop.grid.cut((~batch.is_padding).float())
            is_counted = gather(is_real, masking.masked) > 0
        target = gather(inputs.patches, masking.masked)
        return patch_loss(
            predicted, target, normalise=terms.normalise_patches, is_counted=is_counted
        )

    def _alignment_loss(self, output: SimCroPOutput, batch: Batch) -> Tensor:
        settings = self.config.alignment
        assert output.patch_embeddings is not None
        assert output.aligned_patches is not None
        assert output.sentence_embeddings is not None
        is_candidate = batch.is_body.gather(1, output.aligned_patches)
        if settings.candidates == "all":
            is_candidate = torch.ones_like(is_candidate)
        inputs = AlignmentInput(
            patches=output.patch_embeddings,
            sentences=output.sentence_embeddings,
            is_candidate=is_candidate,
            keys=batch.sentence_keys,
            is_valid=batch.sentence_is_valid,
            weights=batch.sentence_weights,
        )
        return NEGATIVES[settings.negatives](
            inputs,
            top_k=self._top_k(),
            temperature=settings.temperature,
            reduction=settings.reduction,
            duplicates_are_positives=settings.duplicates == "positives",
        )

    def _instance_loss(self, output: SimCroPOutput, batch: Batch) -> Tensor:
        assert output.volume_embeddings is not None
        assert output.report_embeddings is not None
        return instance_contrast(
            output.volume_embeddings,
            output.report_embeddings,
            say_the_same(batch.sentence_keys, batch.sentence_is_valid),
            batch.sentence_is_valid.any(dim=1),
            self.config.alignment.temperature,
        )

    def _top_k(self) -> int:
        """Return K of this update; validation uses the final one."""
        settings = self.config.alignment
        if settings.top_k_start is None or not self.training:
            return settings.top_k
        length = self.config.optimizer.length * self._updates_per_unit
        progress = self.global_step / (length * settings.top_k_anneal)
        return annealed_top_k(settings.top_k_start, settings.top_k, progress)

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

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """Return the total loss of one batch and keep every term; None passes a bad batch over.

        Raises:
            TrainingError: after a bad loss, where the run is to stop.
        """
        self._batch_in_update = batch_idx % self.config.optimizer.accumulate
        generator = step_generator(self.config.seed, self._batch_number(), self.global_rank)
        torch.manual_seed(generator.initial_seed())  # dropout
        losses = self.losses(batch, generator)
        total = self.total(losses)
        self.logged = {}
        if not self._is_usable(total):
            self.on_bad_batch(self.global_step, batch, {**losses, "total_loss": total})
            if self.config.optimizer.bad_loss == "stop":
                raise TrainingError(
                    complain(
                        f"total loss {float(total.detach())} at update {self.global_step}, studies "
                        f"{', '.join(batch.study_ids)}",
                        "a finite one, and none above optimizer.largest_loss",
                        "See bad_batches.csv; lower optimizer.lr, set optimizer.clip, or resume "
                        "with optimizer.bad_loss=skip in config.yaml.",
                    )
                )
            return None
        self.logged = _named("train", {**losses, "total_loss": total})
        return total

    def _is_usable(self, total: Tensor) -> bool:
        largest = self.config.optimizer.largest_loss
        return bool(total.isfinite()) and (largest is None or bool(total <= largest))

    def _batch_number(self) -> int:
        """Return how many batches this process has trained on."""
        return self.global_step * self.config.optimizer.accumulate + self._batch_in_update

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the losses of a validation batch; the hidden patches are the same every time."""
        losses = self.losses(batch, step_generator(self.config.seed, _VALIDATION + batch_idx, 0))
        named = _named("val", {**losses, "total_loss": self.total(losses)})
        self.log_dict(named, batch_size=len(batch), sync_dist=True, logger=False)

    def transfer_batch_to_device(
        self, batch: Batch, device: torch.device, dataloader_idx: int
    ) -> Batch:
        """Move every tensor of a batch."""
        fields = {name: getattr(batch, name) for name in batch.__dataclass_fields__}
        return Batch(**{n: v.to(device) if isinstance(v, Tensor) else v for n, v in fields.items()})

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of the gradient; Lightning's own way refuses fused optimisers in bf16."""
        if gradient_clip_val is not None:
            torch.nn.utils.clip_grad_norm_(self.simcrop.parameters(), gradient_clip_val)

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
    return {f"{split}/{name}": value.detach() for name, value in losses.items()}


def step_generator(seed: int, step: int, rank: int) -> torch.Generator:
    """Return the generator of one step of one process; no two share their draws."""
    state = np.random.SeedSequence((seed, step, rank)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
