"""Settings of a segmentation run: what it sees, how it learns, and what it predicts with."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from simcrop.config.section import Axes3, BelowOne, Count, Fraction, Positive, Section


class SegmentationVolumeConfig(Section):
    """What the network sees of a CT. Window and patch are the encoder's."""

    spacing_mm: tuple[Positive, Positive, Positive] | None = None
    """Voxel size, mm; null is the encoder's own (recommended). KNOWN: 1 x 1 x 1 on LUNA16 though
    the encoder was trained at 1.5 x 1.5 x 3.0, and 1.5 x 1.5 x 3.0 on BTCV."""
    crop_shape: Axes3 = (96, 96, 48)
    """Voxels of a crop along x, y, z; whole patches. KNOWN."""


class UnetrConfig(Section):
    """The network behind the encoder. KNOWN."""

    feature_size: Count = 16
    """Channels at full size; the skips have 2, 4 and 8 times as many. KNOWN."""
    positions: Literal["physical", "cells"] = "physical"
    """How far apart patches are in the position table of the crop: as in the patient (D-20), or one
    cell as the authors have it; the same where the spacing is the encoder's."""


class SegmentationAugmentationConfig(Section):
    """Random changes of the crops."""

    flip_probability: tuple[Fraction, Fraction, Fraction] = (0.2, 0.2, 0.2)
    """Chance to flip x, y, z. KNOWN. A flip of x exchanges left and right classes; it is off where
    a class has a side and no partner (18.22)."""
    scale_probability: Fraction = 0.1
    """Chance to scale intensities. KNOWN."""
    scale_range: BelowOne = 0.1
    """Largest change of scale. KNOWN."""
    shift_probability: Fraction = 0.1
    """Chance of an intensity shift. KNOWN."""
    shift_range: Annotated[float, Field(ge=0.0)] = 0.1
    """Largest shift, in units of the normalised intensity. KNOWN."""


class FineTuningConfig(Section):
    """AdamW on all weights, with linear warm-up and a half cosine to zero."""

    lr: Positive = 1e-4
    """Peak learning rate. KNOWN."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 1e-5
    """On all weights. KNOWN."""
    volumes_per_step: Count = 1
    """Volumes of an update. KNOWN."""
    crops_per_volume: Count = 16
    """Crops of each of them, in turn around a class and around background. KNOWN."""
    length: Count = 400
    """Length of the run, and of the cosine, in `unit`. KNOWN: 400 epochs on 10 % of LUNA16, 50 on
    all of it, 2000 on BTCV."""
    warmup: Annotated[int, Field(ge=0)] = 50
    """Length of the linear rise, in `unit`. KNOWN: 50, even where the run has 50 (18.18), which is
    refused here."""
    unit: Literal["epochs", "steps"] = "epochs"
    """Unit of `length` and `warmup`; a step is one update, an epoch sees every volume once."""
    clip: Positive | None = None
    """Largest gradient norm; the authors clip nothing."""


class SegmentationLoopConfig(Section):
    """How the loop runs and how it looks at validation patients."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: a GPU where there is one."""
    precision: Annotated[Literal["auto", "32", "bf16"], BeforeValidator(str)] = "auto"
    """auto: bf16 on a GPU that has it, 32-bit else. The authors: fp16."""
    workers: Annotated[int, Field(ge=0)] = 4
    """Processes that read volumes."""
    keep_in_memory: bool = False
    """Keep volumes and label maps in memory after the first read."""
    validation_epochs: Count = 20
    """Epochs between two looks at the validation volumes, which choose the epoch that is kept.
    KNOWN: 20 and 5 on LUNA16, 50 on BTCV."""
    checkpoint_steps: Count = 500
    """Updates between two resume points."""
    log_steps: Count = 10
    """Updates between two logged values."""
    max_skipped: Fraction = 0.05
    """Share of the training studies that may turn out unreadable before the run stops. Each is
    named in skipped_studies.csv, and another study takes its place."""


class SlidingWindowConfig(Section):
    """How a whole volume is predicted crop by crop."""

    overlap: BelowOne = 0.5
    """Share of a crop that neighbours have in common along each axis. KNOWN."""
    weighting: Literal["constant", "gaussian"] = "constant"
    """How overlapping crops are averaged. KNOWN: constant."""
    crops_at_once: Count = 4
    """Crops that go through the network together."""


class SegmentationConfig(Section):
    """A whole segmentation run on a pre-trained encoder."""

    name: str
    """Name of the recipe, for messages and reports; it decides nothing."""
    volume: SegmentationVolumeConfig = SegmentationVolumeConfig()
    unetr: UnetrConfig = UnetrConfig()
    augmentation: SegmentationAugmentationConfig = SegmentationAugmentationConfig()
    optimizer: FineTuningConfig = FineTuningConfig()
    trainer: SegmentationLoopConfig = SegmentationLoopConfig()
    window: SlidingWindowConfig = SlidingWindowConfig()
    seed: Annotated[int, Field(ge=0)] = 0
    """Of every random draw and of the share of patients. The authors set none (18.23)."""

    @model_validator(mode="after")
    def _ends_within_the_run(self) -> "SegmentationConfig":
        if self.optimizer.warmup >= self.optimizer.length:
            raise ValueError("optimizer.warmup must be shorter than optimizer.length")
        return self
