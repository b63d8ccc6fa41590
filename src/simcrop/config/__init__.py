"""One typed, strict tree of settings, and its way in and out of YAML and the command line."""

from simcrop.config.files import from_mapping, override, read_config, write_config
from simcrop.config.tree import (
    AlignmentConfig,
    AugmentationConfig,
    Config,
    FusionConfig,
    MaskingConfig,
    OptimizerConfig,
    TermsConfig,
    TextConfig,
    TrainerConfig,
    VisionDecoderConfig,
    VisionEncoderConfig,
    VolumeConfig,
)

__all__ = [
    "AlignmentConfig",
    "AugmentationConfig",
    "Config",
    "FusionConfig",
    "MaskingConfig",
    "OptimizerConfig",
    "TermsConfig",
    "TextConfig",
    "TrainerConfig",
    "VisionDecoderConfig",
    "VisionEncoderConfig",
    "VolumeConfig",
    "from_mapping",
    "override",
    "read_config",
    "write_config",
]
