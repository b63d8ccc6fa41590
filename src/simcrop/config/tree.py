"""The tree itself: every setting with its default, which is the paper's value, and its meaning.

`KNOWN`, `INFERRED` and `UNKNOWN` in the descriptions are the status of each value as
`docs/explanation/method.md` gives it.
"""

from pathlib import PurePath
from typing import Annotated

from pydantic import Field, model_validator

from simcrop.config.network_settings import (
    FusionConfig,
    MaskingConfig,
    TextConfig,
    VisionDecoderConfig,
    VisionEncoderConfig,
)
from simcrop.config.objective_settings import AlignmentConfig, TermsConfig
from simcrop.config.section import Section
from simcrop.config.training_settings import OptimizerConfig, TrainerConfig
from simcrop.config.volume_settings import AugmentationConfig, VolumeConfig
from simcrop.data.contract import Contract
from simcrop.report.sentences import SENTENCE_RULE


class Config(Section):
    """A whole run: one value for every choice."""

    name: str
    """Name of the recipe, for messages and reports; it decides nothing."""
    volume: VolumeConfig = VolumeConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    vision_encoder: VisionEncoderConfig = VisionEncoderConfig()
    vision_decoder: VisionDecoderConfig = VisionDecoderConfig()
    text: TextConfig = TextConfig()
    fusion: FusionConfig = FusionConfig()
    masking: MaskingConfig = MaskingConfig()
    alignment: AlignmentConfig = AlignmentConfig()
    terms: TermsConfig = TermsConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    trainer: TrainerConfig = TrainerConfig()
    seed: Annotated[int, Field(ge=0)] = 42
    """Of every random draw. INFERRED: 42."""

    def contract(self) -> Contract:
        """Return the preprocessing contract, which travels with stores and checkpoints."""
        text, name = self.text, _name_of(self.text.encoder)
        return Contract(
            **self.volume.model_dump(),
            text_encoder=name,
            tokenizer=f"of {name}: at most {text.max_words} pieces, else {text.long_reports}; "
            f"sentences of {text.min_pieces} or more",
            sentence_rule=SENTENCE_RULE,
        )

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        num_patches = self.contract().patch_grid.num_patches
        if num_patches * (1 - self.masking.patch_ratio) < 1:
            raise ValueError(f"masking.patch_ratio hides all {num_patches} patches")
        encoder = self.vision_encoder
        cells = (encoder.block_shape, encoder.cell_shape, self.volume.patch_shape)
        if encoder.embedding == "cells" and any(
            p % (b * c) for b, c, p in zip(*cells, strict=True)
        ):
            raise ValueError("vision_encoder: cells do not fill a patch of volume.patch_shape")
        for name in ("vision_encoder", "vision_decoder", "fusion"):
            part = getattr(self, name)
            if part.dim % part.heads:
                raise ValueError(f"{name}.dim {part.dim} is no multiple of its {part.heads} heads")
        if self.fusion.looks_at == "embeddings" and self.terms.fusion and not self.terms.alignment:
            raise ValueError(
                "fusion.looks_at=embeddings needs terms.alignment, which makes them; without it "
                "set fusion.looks_at=visible"
            )
        if self.optimizer.warmup >= self.optimizer.length:
            raise ValueError("optimizer.warmup must be shorter than optimizer.length")
        return self


def _name_of(encoder: str) -> str:
    """Return a text encoder's name; of a folder the last part, as paths differ by machine."""
    is_folder = encoder.startswith(("/", ".", "~")) or encoder.count("/") > 1
    return PurePath(encoder).name if is_folder else encoder
