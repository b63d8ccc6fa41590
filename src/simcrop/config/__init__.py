"""Typed, strict trees of settings, and their way in and out of YAML and the command line."""

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
from simcrop.config.segmentation_settings import (
    FineTuningConfig,
    SegmentationAugmentationConfig,
    SegmentationConfig,
    SegmentationLoopConfig,
    SegmentationVolumeConfig,
    SlidingWindowConfig,
    UnetrConfig,
)
from simcrop.config.training_settings import OptimizerConfig, TrainerConfig
from simcrop.config.tree import Config
from simcrop.config.volume_settings import AugmentationConfig, VolumeConfig

__all__ = [
    "AlignmentConfig",
    "AugmentationConfig",
    "Config",
    "FineTuningConfig",
    "FinetuneConfig",
    "FusionConfig",
    "HeadConfig",
    "MaskingConfig",
    "OptimizerConfig",
    "SegmentationAugmentationConfig",
    "SegmentationConfig",
    "SegmentationLoopConfig",
    "SegmentationVolumeConfig",
    "SlidingWindowConfig",
    "TermsConfig",
    "TextConfig",
    "TrainerConfig",
    "UnetrConfig",
    "VisionDecoderConfig",
    "VisionEncoderConfig",
    "VolumeConfig",
    "from_mapping",
    "located",
    "override",
    "read_config",
    "write_config",
]
