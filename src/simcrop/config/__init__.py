"""One typed, strict tree of settings, and its way in and out of YAML and the command line."""

from simcrop.config.files import from_mapping, located, override, read_config, write_config
from simcrop.config.head_settings import FinetuneConfig, HeadConfig
from simcrop.config.network_settings import (
    FusionConfig,
    MaskingConfig,
    TextConfig,
    VisionDecoderConfig,
    VisionEncoderConfig,
)
from simcrop.config.objective_settings import AlignmentConfig, TermsConfig
from simcrop.config.training_settings import OptimizerConfig, TrainerConfig
from simcrop.config.tree import Config
from simcrop.config.volume_settings import AugmentationConfig, VolumeConfig

__all__ = [
    "AlignmentConfig",
    "AugmentationConfig",
    "Config",
    "FinetuneConfig",
    "FusionConfig",
    "HeadConfig",
    "MaskingConfig",
    "OptimizerConfig",
    "TermsConfig",
    "TextConfig",
    "TrainerConfig",
    "VisionDecoderConfig",
    "VisionEncoderConfig",
    "VolumeConfig",
    "from_mapping",
    "located",
    "override",
    "read_config",
    "write_config",
]
