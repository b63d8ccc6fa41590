"""Named, complete configurations.

    paper             the published setting, as far as it is known (docs/explanation/method.md)
    base              the paper's form and size with our first recommendations for the alignment
    base_recommended  the paper's size with nearly all of `tiny_recommended`; untrained yet
    tiny              the paper's form at a size that trains on two CPU cores
    tiny_recommended  the same size with our recommendations; what `simcrop demo` shows

Those of `simcrop segment` are in `segmentation.py`. Recommendations are named options with their
reasons in docs/explanation/differences-from-the-paper.md.
"""

from pathlib import Path
from typing import Any

from simcrop.config import (
    AlignmentConfig,
    AugmentationConfig,
    Config,
    FusionConfig,
    MaskingConfig,
    OptimizerConfig,
    SegmentationConfig,
    TermsConfig,
    TextConfig,
    TrainerConfig,
    VisionDecoderConfig,
    VisionEncoderConfig,
    VolumeConfig,
    read_config,
)
from simcrop.config.section import Tree
from simcrop.errors import ConfigError, complain
from simcrop.recipes.segmentation import SEGMENTATION_RECIPES

_PAPER = Config(
    name="paper",
    text=TextConfig(encoder="microsoft/BiomedVLP-CXR-BERT-specialized"),
)

_RECOMMENDED: dict[str, Any] = {
    "negatives": "per_image",
    "candidates": "body",
    "volume_pass": "unmasked",
    "sentence_weights": "inverse_frequency",
    "normalise_text": True,
}

_BASE = _PAPER.model_copy(
    update={
        "name": "base",
        "alignment": AlignmentConfig(reach=1, **_RECOMMENDED),
        "optimizer": OptimizerConfig(clip=1.0),
    }
)

_TINY = Config(
    name="tiny",
    volume=VolumeConfig(
        spacing_mm=(5.5, 5.5, 8.0), crop_shape=(60, 48, 36), patch_shape=(12, 12, 6)
    ),
    augmentation=AugmentationConfig(crop_scale=(1.0, 1.0), flip_probability=(0.0, 0.0, 0.0)),
    vision_encoder=VisionEncoderConfig(dim=64, depth=3, heads=4),
    vision_decoder=VisionDecoderConfig(dim=48, depth=1, heads=4),
    text=TextConfig(max_words=256, vocabulary="corpus"),
    fusion=FusionConfig(dim=96, heads=4, mlp_dim=192, depth=1, dropout=0.0),
    masking=MaskingConfig(word_ratio=0.5, word_variants=1),
    alignment=AlignmentConfig(top_k=3, shared_dim=128),
    terms=TermsConfig(normalise_patches=True),
    optimizer=OptimizerConfig(
        lr=2e-3, batch_size=32, accumulate=1, length=1000, warmup=60, unit="steps", clip=1.0
    ),
    trainer=TrainerConfig(
        precision="32", workers=0, keep_in_memory=True, checkpoint_steps=200, validation_epochs=4
    ),
)


def _recommended(recipe: Config, *, whole_share: float = 0.0) -> Config:
    """Return the sibling NAME_recommended: the same size, with what was learned on phantoms.

    The form of cells is the same for both sizes: blocks of 2 x 2 x 2 voxels, whose eight voxels
    make a soft histogram, and four blocks to a cell. In `tiny` a cell is 22 x 22 x 16 mm and a
    patch has 27, in `base` it is a cube of 6 mm, the size from which nodules are followed up, and
    a patch has 64. Larger cells in `base`, nearer those of `tiny` in mm, would leave 8 of them or
    1, hence fewer numbers (8 x 48) than a token has.

    K ends where the recipe has it: 3 patches of `tiny` are 0.63 litres, 32 of `base` 0.44.

    A share of the whole in a volume's score is a gain with the patches of `tiny`; with ones of half
    the width, on chests that lie anywhere in the scan, one run lost by it. So `base` goes without.
    """
    changed: dict[str, dict[str, Any]] = {
        # Linear embeddings of raw voxels stay on the plateau of the alignment for hundreds of
        # updates; cells tell densities apart, over the whole window up to calcium.
        "vision_encoder": {"embedding": "cells"},
        # A sentence is read as it will be asked, and every wording is encoded once.
        "text": {"context": "sentence"},
        # Of the visible quarter, hidden words never learned to make use.
        "fusion": {"looks_at": "embeddings"},
        # What all volumes and all sentences share is taken away before they meet, or the run stays
        # on its plateau: after 300 updates 0.69 of sentences hit, without it 0.10.
        # All patches learn before few are selected, and each speaks of itself alone: with a reach
        # of 1, three blocks carry evidence across the whole grid of 5 x 4 x 6 patches, twelve
        # across that of 14 x 14 x 14, and on phantoms sentences are then answered far from their
        # findings (experiments/LOG.md).
        "alignment": {
            "top_k_start": recipe.contract().patch_grid.num_patches,
            "whole_share": whole_share,
            "reach": 0,
            "standardise": True,
            "temperature": 0.1,
            **_RECOMMENDED,
        },
    }
    sections = {name: getattr(recipe, name).model_copy(update=new) for name, new in changed.items()}
    return recipe.model_copy(update={"name": f"{recipe.name}_recommended", **sections})


RECIPES = {
    recipe.name: recipe
    for recipe in (
        _PAPER,
        _BASE,
        _recommended(_BASE),
        _TINY,
        _recommended(_TINY, whole_share=0.5),
    )
}


def load_recipe(name_or_file: str) -> Config:
    """Return a recipe by name, or the configuration in a YAML file.

    Raises:
        ConfigError: if there is neither such a recipe nor such a file.
    """
    return _load(name_or_file, RECIPES, Config)


def load_segmentation_recipe(name_or_file: str) -> SegmentationConfig:
    """Return a recipe of `simcrop segment` by name, or the configuration in a YAML file.

    Raises:
        ConfigError: if there is neither such a recipe nor such a file.
    """
    return _load(name_or_file, SEGMENTATION_RECIPES, SegmentationConfig)


def _load(name_or_file: str, recipes: dict[str, Tree], tree: type[Tree]) -> Tree:
    if name_or_file in recipes:
        return recipes[name_or_file]
    path = Path(name_or_file)
    if path.suffix in {".yaml", ".yml"} or path.exists():
        return read_config(path, tree)
    raise ConfigError(
        complain(
            f"recipe {name_or_file!r}",
            f"one of {', '.join(recipes)}, or a YAML file",
            "Choose one.",
        )
    )
