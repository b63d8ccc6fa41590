"""The losses of a batch: its studies through the networks, part by part, and then compared.

A process holds a stretch of the global batch (`global_batch`). It may send it through the networks
in micro-batches (`optimizer.micro_batch`): of each one only its losses and what studies are
compared by (embeddings, scores) are kept, and it is run once more, with the same draws, when the
gradient arrives. So memory is that of one micro-batch, whatever the number of negatives.

This is gradient caching (Gao et al., arXiv 2101.06983) written as activation checkpointing of a
whole pass, which leaves one backward pass, as data parallelism wants it.
"""

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from simcrop.config import Config
from simcrop.data.samples import Batch
from simcrop.model.dropout import Dropout
from simcrop.model.patch_masking import gather
from simcrop.model.simcrop import FindingsEmbeddings, SimCroP, SimCroPInput
from simcrop.model.text_encoder import TextEncoder
from simcrop.objectives.contrast import (
    AlignmentInput,
    Said,
    contrast_regions,
    contrast_volumes,
    select_regions,
    volume_scores,
    within_report,
)
from simcrop.objectives.instance_contrast import instance_contrast, say_the_same
from simcrop.objectives.reconstruction import patch_loss
from simcrop.objectives.report_modelling import report_loss
from simcrop.train.global_batch import GlobalBatch
from simcrop.train.optimization import annealed_top_k
from simcrop.train.parts import Counts, Part, count_terms, draw_parts, leaves_out_padding, said
from simcrop.types import WordMask


class BatchLosses(LightningModule):
    """The networks of a run and the losses of a batch; `Pretraining` trains them.

    Args:
        config: the whole tree.
        simcrop: the networks that train.
        text_encoder: the frozen BERT.
        vocabulary: ids of the words that the text decoder predicts, sorted.
        unknown_id: the id of [UNK], which stands for words outside the vocabulary.
        updates_per_epoch: makes epochs of the schedule into updates.

    Attributes:
        moments: of patches and sentences of the last global batch, for `SimCroP.see`, or None.
    """

    word_class: Tensor
    moments: tuple[Tensor, Tensor] | None = None

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
        self._updates_per_unit = updates_per_epoch if config.optimizer.unit == "epochs" else 1

    @property
    def text_encoder(self) -> TextEncoder:
        """The frozen text encoder."""
        return self._frozen[0]

    def losses(
        self, batch: Batch, generator: torch.Generator, share: GlobalBatch | None = None
    ) -> dict[str, Tensor]:
        """Return the loss of every term that is on, by its name in the logs.

        Args:
            batch: the studies of this process.
            generator: draws for the global batch what is hidden and dropped.
            share: where the studies stand in the global batch; None where this is all of it.
                The average over processes of each value, and of its gradient, is the term.
        """
        if share is None:
            share = GlobalBatch.alone(len(batch), batch.sentence_keys.shape[1])
        batch = batch.with_sentences(share.num_sentences)
        config, grid = self.config, self.simcrop.grid
        modes = {"second_pass": self._has_second_pass(), "is_training": self.training}
        parts = draw_parts(config, grid, batch, share, generator, **modes)
        counted = torch.stack([count_terms(config, grid, part) for part in parts]).sum(dim=0)
        counts = Counts(*share.mean(counted.to(self.device)).float().clamp(min=1e-12))
        findings = [self._run(len(parts), self._embed_findings, part) for part in parts]
        everywhere = self._sentences_for_all(findings, share)
        found = [
            self._run(len(parts), self._pass, part, of_part, everywhere, counts)
            for part, of_part in zip(parts, findings, strict=True)
        ]
        losses = {
            name: torch.stack([of_part[name] for of_part in found]).sum()
            for name in ("patch_loss", "report_loss", "alignment_loss")
            if name in found[0]
        }
        self.moments = self._moments(findings, found, share)
        kept = {
            name: torch.cat([of_part[name] for of_part in found])
            for name in ("regions", "scores", "volumes")
            if name in found[0]
        }
        return losses | self._compare(kept, findings, batch, share)

    def inputs(
        self, batch: Batch, is_counted: WordMask, dropout: Dropout | None = None
    ) -> SimCroPInput:
        """Return what the networks see of a batch; the counted words are those to predict."""
        return SimCroPInput(
            patches=self.simcrop.grid.cut(batch.voxels),
            findings_states=batch.findings_states,
            sentence_of_word=batch.sentence_of_word,
            num_sentences=batch.sentence_keys.shape[1],
            report_states=self._report_states(batch),
            report_is_valid=batch.report_is_valid,
            report_is_counted=is_counted,
            dropout=dropout,
        )

    def _has_second_pass(self) -> bool:
        """Return whether the alignment has a pass of its own in this batch."""
        settings = self.config.alignment
        if settings.volume_pass == "masked":
            return False
        return not (self.training and self._batch_number() % settings.pass_every)

    def _run(self, num_parts: int, function: Callable[..., Any], *args: object) -> Any:
        """Call a function; of several parts, keep its results and not what led to them."""
        if num_parts > 1 and torch.is_grad_enabled():
            return checkpoint(function, *args, use_reentrant=False)
        return function(*args)

    def _embed_findings(self, part: Part) -> FindingsEmbeddings:
        batch = part.batch.to(self.device)
        return self.simcrop.embed_findings(
            batch.findings_states, batch.sentence_of_word, batch.sentence_keys.shape[1]
        )

    def _sentences_for_all(
        self, findings: list[FindingsEmbeddings], share: GlobalBatch
    ) -> Tensor | None:
        """Return the sentences that select a region in every volume, where there are such."""
        terms, negatives = self.config.terms, self.config.alignment.negatives
        if not terms.alignment or negatives != "per_image":
            return None
        return share.gather(_cat([of_part.sentences for of_part in findings])).flatten(0, 1)

    def _pass(
        self, part: Part, findings: FindingsEmbeddings, everywhere: Tensor | None, counts: Counts
    ) -> dict[str, Tensor]:
        """Run the networks; return the sums over studies, and what studies are compared by."""
        part = part.to(self.device)
        batch = part.batch
        inputs = self.inputs(batch, part.is_counted, part.dropout)
        output = self.simcrop(inputs, part.masking, part.second_pass, findings)
        found = {}
        if output.predicted_patches is not None:
            found["patch_loss"] = self._patch_loss(output.predicted_patches, inputs, part, counts)
        if output.word_logits is not None:
            words = self.word_class[batch.report_ids[part.is_counted]]
            found["report_loss"] = report_loss(output.word_logits, words, counts.words)
        others = {"volumes": output.volume_embeddings, "moments": output.moments}
        found |= {name: value for name, value in others.items() if value is not None}
        if output.patch_embeddings is None:
            return found
        sentences, top_k = output.sentence_embeddings, self._top_k()
        assert output.aligned_patches is not None
        assert sentences is not None
        settings, patches = self.config.alignment, output.patch_embeddings
        is_candidate = batch.is_body.gather(1, output.aligned_patches)
        is_candidate = is_candidate | (settings.candidates == "all")
        if everywhere is not None:
            share = settings.whole_share
            found["scores"] = volume_scores(patches, everywhere, top_k, is_candidate, share)
        elif settings.negatives == "batch":
            found["regions"] = select_regions(patches, sentences, top_k, is_candidate)
        else:
            own = vars(part.said)  # what sentences say, and their weights
            aligned = AlignmentInput(patches, sentences, is_candidate, **own)
            found["alignment_loss"] = within_report(
                aligned, top_k=top_k, count=counts.reports, **self._contrast()
            )
        return found

    def _moments(
        self, findings: list[FindingsEmbeddings], found: list[dict[str, Tensor]], share: GlobalBatch
    ) -> tuple[Tensor, Tensor] | None:
        """Return the moments of the whole batch, divided by the number of processes."""
        sentences = [of_part.moments for of_part in findings if of_part.moments is not None]
        if not sentences:
            return None
        patches = [of_part["moments"] for of_part in found]
        return share.mean(torch.stack(patches).sum(0)), share.mean(torch.stack(sentences).sum(0))

    def _patch_loss(
        self, predicted: Tensor, inputs: SimCroPInput, part: Part, counts: Counts
    ) -> Tensor:
        masked, is_counted = part.masking.masked, None
        if leaves_out_padding(self.config, part.batch):
            is_real = self.simcrop.grid.cut((~part.batch.is_padding).float())
            is_counted = gather(is_real, masked) > 0
        return patch_loss(
            predicted,
            gather(inputs.patches, masked),
            normalise=self.config.terms.normalise_patches,
            is_counted=is_counted,
            count=counts.voxels,
        )

    def _compare(
        self,
        kept: dict[str, Tensor],
        findings: list[FindingsEmbeddings],
        batch: Batch,
        share: GlobalBatch,
    ) -> dict[str, Tensor]:
        """Return the terms that compare studies, over the global batch."""
        if not kept:
            return {}
        losses, own = {}, said(batch)
        everyone = Said(
            *(share.gather(x.to(self.device)) for x in (own.keys, own.is_valid, own.weights))
        )
        if "scores" in kept:
            losses["alignment_loss"] = contrast_volumes(
                share.gather(kept["scores"]), everyone, **self._contrast()
            )
        if "regions" in kept:
            sentences = share.gather(_cat([of_part.sentences for of_part in findings]))
            losses["alignment_loss"] = contrast_regions(
                sentences, share.gather(kept["regions"]), everyone, **self._contrast()
            )
        if "volumes" in kept:
            losses["instance_loss"] = instance_contrast(
                share.gather(kept["volumes"]),
                share.gather(_cat([of_part.report for of_part in findings])),
                say_the_same(everyone.keys, everyone.is_valid),
                everyone.is_valid.any(dim=1),
                self.config.alignment.temperature,
            )
        return losses

    def _contrast(self) -> dict[str, Any]:
        settings = self.config.alignment
        return {
            "temperature": settings.temperature,
            "reduction": settings.reduction,
            "duplicates_are_positives": settings.duplicates == "positives",
        }

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

    def _top_k(self) -> int:
        """Return K of this update; validation uses the final one."""
        settings = self.config.alignment
        if settings.top_k_start is None or not self.training:
            return settings.top_k
        length = self.config.optimizer.length * self._updates_per_unit
        progress = self.global_step / (length * settings.top_k_anneal)
        return annealed_top_k(settings.top_k_start, settings.top_k, progress)

    def _batch_number(self) -> int:
        """Return how many batches this process has trained on."""
        return self.global_step * self.config.optimizer.accumulate + self._batch_in_update


def _cat(rows: list[Tensor | None]) -> Tensor:
    return torch.cat([row for row in rows if row is not None])
