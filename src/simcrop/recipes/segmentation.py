"""Named, complete configurations of segmentation.

    segment          for any archive with label maps: the authors' values at the encoder's spacing
    segment_luna16   lungs and trachea at 1 mm, as the authors (10 % of the patients)
    segment_btcv     13 abdominal organs at 1.5 x 1.5 x 3.0 mm, as the authors
    segment_tiny     phantoms with an encoder of the recipe `tiny`, seconds on a CPU

For all patients of LUNA16 the authors train 50 epochs: `--set optimizer.length=50 --set
optimizer.warmup=5 --set trainer.validation_epochs=5`.
"""

from simcrop.config import (
    FineTuningConfig,
    SegmentationAugmentationConfig,
    SegmentationConfig,
    SegmentationLoopConfig,
    SegmentationVolumeConfig,
    SlidingWindowConfig,
)

_SEGMENT = SegmentationConfig(name="segment")

_LUNA16 = SegmentationConfig(
    name="segment_luna16", volume=SegmentationVolumeConfig(spacing_mm=(1.0, 1.0, 1.0))
)

_BTCV = SegmentationConfig(
    name="segment_btcv",
    volume=SegmentationVolumeConfig(spacing_mm=(1.5, 1.5, 3.0)),
    optimizer=FineTuningConfig(length=2000),
    trainer=SegmentationLoopConfig(validation_epochs=50),
)

_TINY = SegmentationConfig(
    name="segment_tiny",
    volume=SegmentationVolumeConfig(crop_shape=(48, 36, 24)),
    augmentation=SegmentationAugmentationConfig(flip_probability=(0.0, 0.0, 0.0)),
    optimizer=FineTuningConfig(
        lr=5e-3, crops_per_volume=2, length=160, warmup=15, unit="steps", clip=1.0
    ),
    trainer=SegmentationLoopConfig(
        workers=0, keep_in_memory=True, validation_epochs=2, checkpoint_steps=20
    ),
    window=SlidingWindowConfig(overlap=0.25, crops_at_once=8),
)

SEGMENTATION_RECIPES = {recipe.name: recipe for recipe in (_SEGMENT, _LUNA16, _BTCV, _TINY)}
