"""What a segmentation network is and how it sees a volume: all that its checkpoint must say."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from simcrop.config import (
    Config,
    SegmentationConfig,
    VisionEncoderConfig,
    VolumeConfig,
    from_mapping,
)
from simcrop.data.contract import Contract
from simcrop.data.label_maps import Classes
from simcrop.errors import ConfigError
from simcrop.model.position_embedding import ONE_CELL, Step
from simcrop.model.unetr import UNETR
from simcrop.train.checkpoint import initialise_encoder
from simcrop.train.networks import encoder_for

log = logging.getLogger(__name__)

_REBUILT = "two_axis"  # what the authors' segmentation code builds in place of a stored table


@dataclass(frozen=True)
class SegmentationSetup:
    """The values that decide a segmentation network and its preprocessing.

    Attributes:
        config: of the segmentation.
        encoder: of the pre-trained encoder.
        volume: how the encoder saw its volumes in the pre-training.
        classes: of the label maps.
    """

    config: SegmentationConfig
    encoder: VisionEncoderConfig
    volume: VolumeConfig
    classes: Classes

    @classmethod
    def on(
        cls, pretrained: Config, config: SegmentationConfig, classes: Classes
    ) -> "SegmentationSetup":
        """Return the setup on an encoder that was trained with another configuration.

        Raises:
            ConfigError: if the crop is not a whole number of the encoder's patches.
        """
        encoder = pretrained.vision_encoder
        if encoder.position == "stored":
            log.warning("the checkpoint's position table is none of ours; %s is built", _REBUILT)
            encoder = encoder.model_copy(update={"position": _REBUILT})
        setup = cls(config, encoder.model_copy(update={"init": None}), pretrained.volume, classes)
        _ = setup.contract
        return setup

    @property
    def contract(self) -> Contract:
        """How the network sees a volume: as the encoder, at the spacing and crop of its own.

        Beyond the volume there is air and no class; a mirror image would need mirrored labels.
        """
        values = self.volume.model_dump()
        values |= {"crop_shape": self.config.volume.crop_shape, "padding": "air"}
        if self.config.volume.spacing_mm is not None:
            values["spacing_mm"] = self.config.volume.spacing_mm
        return Contract(**values)

    @property
    def position_step(self) -> Step:
        """How far apart patches are, in patches of the pre-training."""
        if self.config.unetr.positions == "cells":
            return ONE_CELL
        x, y, z = (
            here / there
            for here, there in zip(self.contract.spacing_mm, self.volume.spacing_mm, strict=True)
        )
        return x, y, z

    def network(self, weights: Path | None = None) -> UNETR:
        """Return the network; its encoder has the weights of a checkpoint, or fresh ones.

        The decoder's start is the same in both cases.

        Raises:
            CheckpointError: if the checkpoint's encoder does not fit.
        """
        torch.manual_seed(self.config.seed)
        seen = self.volume.model_copy(update={"crop_shape": self.config.volume.crop_shape})
        encoder = encoder_for(seen, self.encoder)
        if weights is not None and (untrained := initialise_encoder(encoder, weights)):
            log.warning("%s does not give %s; random there", weights, ", ".join(untrained))
        return UNETR(
            encoder,
            len(self.classes),
            feature_size=self.config.unetr.feature_size,
            position=self.encoder.position,
            step=self.position_step,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "config": self.config.model_dump(mode="json"),
            "encoder": self.encoder.model_dump(mode="json"),
            "volume": self.volume.model_dump(mode="json"),
            "classes": asdict(self.classes),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any], source: str) -> "SegmentationSetup":
        """Return the setup that `to_dict` described.

        Raises:
            ConfigError: if a value is missing or impossible.
        """
        try:
            names, numbers = values["classes"]["names"], values["classes"]["values"]
            parts = (values["config"], values["encoder"], values["volume"])
        except (KeyError, TypeError) as error:
            raise ConfigError(f"{source}: no segmentation is described there ({error})") from error
        return cls(
            from_mapping(parts[0], source, SegmentationConfig),
            from_mapping(parts[1], source, VisionEncoderConfig),
            from_mapping(parts[2], source, VolumeConfig),
            Classes(tuple(names), tuple(numbers)),
        )
