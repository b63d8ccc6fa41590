"""Sizes of the networks, how reports become words, and what is hidden."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from simcrop.config.section import Axes3, BelowOne, Count, Positive, Section, Width


class VisionEncoderConfig(Section):
    """The vision transformer that is kept: ViT-B. KNOWN."""

    dim: Width = 768
    """Width of the patch tokens. KNOWN."""
    depth: Count = 12
    """Transformer blocks. KNOWN."""
    heads: Count = 12
    """Attention heads; they divide `dim`. KNOWN."""
    mlp_ratio: Positive = 4.0
    """Width of the MLP inside a block, in units of `dim`. KNOWN."""
    position: Literal["sine_cosine_3d", "two_axis", "stored"] = "sine_cosine_3d"
    """Position table; `two_axis` is the authors' one, which ignores depth (D-20); `stored` comes
    with converted weights and is not for training."""
    embedding: Literal["linear", "cells"] = "linear"
    """How the voxels of a patch become a token: one linear map (KNOWN), or cells that tell
    densities apart before it (recommended at the tiny size)."""
    block_shape: Axes3 = (2, 2, 2)
    """Of `cells`: voxels along x, y, z whose shares are averaged. Ours."""
    cell_shape: Axes3 = (2, 2, 1)
    """Of `cells`: blocks of a cell along x, y, z; cells fill the patch. Ours."""
    cell_dim: Count = 48
    """Of `cells`: width of a cell's answer. Ours."""
    levels_hu: tuple[float, ...] = (
        -1000, -900, -800, -650, -450, -200, -80, 10, 60, 150, 300, 700,
    )  # fmt: skip
    """Of `cells`: HU, ascending, between which voxels are shared out: air, holes, lung, haze,
    fat, water, muscle, blood with contrast, bone, calcium. What lies outside `volume.window_hu` is
    lost. Ours."""
    init: str | None = None
    """Folder of a checkpoint from whose encoder training starts. The authors start from the blocks
    of an ImageNet MAE ViT-B (INFERRED, strong): `simcrop convert FILE --source mae`; null starts
    from random weights."""


class VisionDecoderConfig(Section):
    """The decoder of hidden patches. INFERRED (successor)."""

    dim: Width = 768
    """Width of its tokens. INFERRED (successor)."""
    depth: Count = 4
    """Transformer blocks. INFERRED (successor, predecessor)."""
    heads: Count = 16
    """Attention heads; they divide `dim`. INFERRED (successor, predecessor)."""


class TextConfig(Section):
    """The frozen text encoder and how reports become words."""

    encoder: str = "packaged"
    """"packaged" (the BERT that is installed with us), a folder, or a hub name."""
    max_words: Annotated[int, Field(ge=8)] = 512
    """Word pieces the text encoder takes at once. KNOWN (successor)."""
    long_reports: Literal["window", "truncate"] = "window"
    """Longer reports: windows of whole sentences (D-7), or cut as the authors do."""
    context: Literal["report", "sentence"] = "report"
    """What the frozen encoder sees around a sentence of the findings: the whole report, as in the
    paper, or nothing. Words read in a report tell what else it says, so a stock sentence can be
    recognised by its neighbours; questions asked later stand alone. `sentence` also encodes each
    wording once, however many reports use it (recommended)."""
    min_pieces: Count = 3
    """Sentences with fewer word pieces are not aligned (D-8)."""
    max_sentences: Count = 64
    """More sentences than this are sub-sampled at random in every epoch (D-8)."""
    vocabulary: Literal["full", "corpus"] = "full"
    """Words the decoder may predict: all, or those of the training reports (cheaper)."""


class FusionConfig(Section):
    """Fusion layer and text decoder. INFERRED (successor, predecessor)."""

    dim: Count = 768
    """Width of both. INFERRED (strong)."""
    heads: Count = 6
    """Attention heads; they divide `dim`. INFERRED (strong)."""
    mlp_dim: Count = 1536
    """Width of the feed-forward half of a layer. INFERRED (strong)."""
    depth: Count = 6
    """Layers of the text decoder after the one fusion layer. INFERRED (strong)."""
    dropout: BelowOne = 0.1
    """Dropout in both. INFERRED (strong)."""
    looks_at: Literal["visible", "embeddings"] = "visible"
    """What words look at: the visible patch tokens of masked modelling, as in the paper, or the
    patch embeddings of the alignment's pass, which sentences have learned to find. Ours
    (recommended at the tiny size)."""
    word_patch: bool = True
    """Words attend to patches."""
    instance_level: bool = True
    """The mean over patches is added to every word."""

    @model_validator(mode="after")
    def _has_a_level(self) -> "FusionConfig":
        if not (self.word_patch or self.instance_level):
            raise ValueError("neither word_patch nor instance_level; switch terms.fusion off")
        return self


class MaskingConfig(Section):
    """What is hidden."""

    patch_ratio: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.75
    """Share of patches hidden from the encoder. INFERRED (strong)."""
    word_ratio: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.75
    """Share of word pieces hidden from the text encoder. INFERRED (weak)."""
    whole_words: bool = False
    """Hide all pieces of a word together. Not in the authors' lineage (D-18)."""
    word_variants: Annotated[int, Field(ge=0)] = 0
    """0: new hidden words in every step. n: n fixed draws per report, whose text states are
    computed once; on a CPU the frozen encoder would otherwise cost more than the rest."""
