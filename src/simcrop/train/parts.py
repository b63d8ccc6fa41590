"""The part of a batch that goes through the networks at once: its studies, draws and counts.

Draws are made for the global batch and cut afterwards, so that neither the number of processes
nor the size of micro-batches changes what is hidden from which study.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simcrop.config import Config
from simcrop.data.samples import Batch
from simcrop.geometry import PatchGrid
from simcrop.model.dropout import KEYS, Dropout
from simcrop.model.patch_masking import PatchMasking, mask_patches
from simcrop.model.simcrop import SecondPass
from simcrop.objectives.contrast import Said, counted_within_report
from simcrop.objectives.report_modelling import counted_words
from simcrop.train.global_batch import GlobalBatch
from simcrop.types import Scalar


class Part(NamedTuple):
    """Studies that go through the networks at once, and what was drawn for them."""

    batch: Batch
    masking: PatchMasking
    second_pass: SecondPass | None
    is_counted: Bool[Tensor, "batch report_words"]
    dropout: Dropout | None

    def to(self, device: torch.device) -> "Part":
        """Return the part on a device."""
        second = self.second_pass
        if second is not None and second.visible is not None:
            second = SecondPass(second.visible.to(device))
        masking = PatchMasking(*(index.to(device) for index in self.masking))
        dropout = self.dropout
        if dropout is not None:
            dropout = Dropout(dropout.keys.to(device), dropout.rate)
        return Part(self.batch.to(device), masking, second, self.is_counted.to(device), dropout)

    @property
    def said(self) -> Said:
        """What the reports say."""
        return said(self.batch)


class Counts(NamedTuple):
    """What the sums over studies are divided by."""

    voxels: Scalar
    words: Scalar
    reports: Scalar


def said(batch: Batch) -> Said:
    """Return what the reports of a batch say."""
    return Said(batch.sentence_keys, batch.sentence_is_valid, batch.sentence_weights)


def draw_parts(
    config: Config,
    grid: PatchGrid,
    batch: Batch,
    share: GlobalBatch,
    generator: torch.Generator,
    *,
    second_pass: bool,
    is_training: bool,
) -> list[Part]:
    """Draw for the global batch, keep what is ours, and cut it into micro-batches.

    Args:
        config: masking, alignment and `optimizer.micro_batch` are read.
        grid: of the patches.
        batch: the studies of this process. All processes have as many parts, since those whose
            weights are spread must run the networks equally often; a part may be empty.
        share: where they stand in the global batch.
        generator: draws what is hidden and dropped.
        second_pass: whether the alignment has a pass of its own in this batch.
        is_training: whether words are dropped out.
    """

    def draw(ratio: float) -> PatchMasking:
        drawn = mask_patches(share.num_studies, grid.num_patches, ratio, generator)
        return PatchMasking(*(index[share.own].to(batch.voxels.device) for index in drawn))

    masking = draw(config.masking.patch_ratio)
    ratio = config.alignment.pass_ratio
    seen = draw(ratio).visible if second_pass and ratio else None
    rate = config.fusion.dropout if is_training else 0.0
    keys = torch.randint(KEYS, (share.num_studies,), generator=generator)[share.own]
    is_counted = counted_words(
        batch.is_masked, batch.report_is_valid, config.terms.report_positions
    )
    most = max(1, *share.sizes)
    size = config.optimizer.micro_batch or most
    parts = []
    for start in range(0, most, size):
        rows = slice(start, start + size)
        second = SecondPass(None if seen is None else seen[rows]) if second_pass else None
        hidden = PatchMasking(*(index[rows] for index in masking))
        dropout = Dropout(keys[rows], rate) if rate else None
        parts.append(Part(batch.rows(rows), hidden, second, is_counted[rows], dropout))
    return parts


def count_terms(config: Config, grid: PatchGrid, part: Part) -> Float[Tensor, "3"]:
    """Return the voxels, words and reports that enter the sums over studies, see `Counts`."""
    terms, masked, voxels = config.terms, part.masking.masked, 0.0
    if terms.masked_volume:
        voxels = float(masked.numel() * grid.patch_voxels)
        if leaves_out_padding(config, part.batch):
            is_real = grid.cut((~part.batch.is_padding).float()).sum(dim=-1)
            voxels = is_real.gather(1, masked).sum(dtype=torch.float64)
    reports = 0.0
    if terms.alignment and config.alignment.negatives == "within_report":
        reports = counted_within_report(part.said, config.alignment.reduction)
    counted = (voxels, part.is_counted.sum(), reports)
    return torch.stack([torch.as_tensor(c, dtype=torch.float64).cpu() for c in counted])


def leaves_out_padding(config: Config, batch: Batch) -> bool:
    """Return whether some voxels of a batch enter no patch loss."""
    return not config.terms.count_padding and bool(batch.is_padding.any())
