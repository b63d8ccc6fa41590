"""The tree itself: every setting with its default, which is the paper's value, and its meaning.

`KNOWN`, `INFERRED` and `UNKNOWN` in the descriptions are the status of each value as
`docs/explanation/method.md` gives it.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from simcrop.data.contract import Contract

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
BelowOne = Annotated[float, Field(ge=0.0, lt=1.0)]
Share = Annotated[float, Field(gt=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=6, multiple_of=2)]  # three sine-cosine axes
Axes3 = tuple[Count, Count, Count]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class VolumeConfig(Section):
    """What the network sees of a CT; becomes the preprocessing contract."""

    spacing_mm: tuple[Positive, Positive, Positive] = (1.5, 1.5, 3.0)
    """Voxel size after resampling, mm. INFERRED (successor's script, hints in the release)."""
    window_hu: tuple[float, float] = (-1000.0, 1000.0)
    """HU that become -1 and 1; values outside are clipped. KNOWN."""
    crop_shape: Axes3 = (224, 224, 112)
    """Voxels of the crop along x, y, z. KNOWN."""
    patch_shape: Axes3 = (16, 16, 8)
    """Voxels of a patch along x, y, z. KNOWN."""
    padding: Literal["reflect", "air"] = "reflect"
    """What fills a crop that is larger than the volume. KNOWN: reflect."""

    def contract(self) -> Contract:
        """Return the preprocessing contract, which travels with stores and checkpoints."""
        return Contract(**self.model_dump())


class AugmentationConfig(Section):
    """Random changes of the volume during pre-training."""

    crop_scale: tuple[Share, Share] = (0.8, 1.0)
    """Range of the random sub-box, as a share of each axis. KNOWN (successor)."""
    flip_probability: tuple[Fraction, Fraction, Fraction] = (0.0, 0.2, 0.2)
    """Chance to flip x, y, z. The authors flip x too; left would become right (D-6)."""
    shift_probability: Fraction = 0.1
    """Chance of an intensity shift. KNOWN (successor)."""
    shift_range: Annotated[float, Field(ge=0.0)] = 0.1
    """Largest shift, in units of the normalised intensity. KNOWN (successor)."""

    @model_validator(mode="after")
    def _is_in_order(self) -> "AugmentationConfig":
        if self.crop_scale[0] > self.crop_scale[1]:
            raise ValueError(f"crop_scale {self.crop_scale} is not (smallest, largest)")
        return self


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
    position: Literal["sine_cosine_3d", "two_axis"] = "sine_cosine_3d"
    """Position table; `two_axis` is the authors' one, which ignores depth (D-20)."""


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
    dropout: Fraction = 0.1
    """Dropout in both. INFERRED (strong)."""
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


class AlignmentConfig(Section):
    """Similarity-driven alignment."""

    top_k: Count = 32
    """Patches that a sentence selects. INFERRED (older working copy)."""
    top_k_start: Count | None = None
    """K at the start of the run, from where it falls to `top_k`; None keeps it constant, as in
    the paper. All patches (recommended) lets every patch learn before few are selected."""
    top_k_anneal: Annotated[float, Field(gt=0.0, le=1.0)] = 0.6
    """Share of the run in which K falls, geometrically."""
    temperature: Positive = 0.07
    """Divides cosines in InfoNCE. INFERRED (strong)."""
    shared_dim: Count = 768
    """Width of the space where sentences meet patches. INFERRED (strong)."""
    negatives: Literal["within_report", "batch", "per_image"] = "within_report"
    """Faithful: within_report. Recommended: per_image, the only one that cannot be solved
    without looking at the image (D-2)."""
    candidates: Literal["all", "body"] = "all"
    """Patches that may be selected; `body` leaves out air and padding (D-5, recommended)."""
    volume_pass: Literal["masked", "unmasked"] = "masked"
    """Align on the visible quarter (faithful) or on a second pass that sees all (D-4)."""
    reach: Annotated[int, Field(ge=0)] | None = None
    """Attention reach in patches of the alignment pass; null is global, as in the paper.
    1 (recommended for grounding) keeps what a patch says about its own place."""
    sentence_weights: Literal["equal", "inverse_frequency"] = "equal"
    """Weight of a sentence; inverse_frequency is the log of its rarity in the training set."""
    reduction: Literal["report", "sentence"] = "report"
    """Average within reports first (D-10), or over all sentences as the authors do."""
    normalise_text: bool = False
    """LayerNorm on the frozen text states before the projections."""


class TermsConfig(Section):
    """Every part of the method on a switch, and the weights of the losses."""

    masked_volume: bool = True
    """Reconstruct hidden patches. KNOWN."""
    masked_report: bool = True
    """Reconstruct hidden words. KNOWN."""
    alignment: bool = True
    """Align sentences with the patches they select. KNOWN."""
    fusion: bool = True
    """Let the volume help with hidden words; acts through the masked report only. KNOWN."""
    patch_weight: Positive = 1.0
    """Weight of the patch loss; 0.75 is the authors' average over all voxels. INFERRED (strong)."""
    report_weight: Positive = 1.0
    """Weight of the report loss. INFERRED (strong)."""
    alignment_weight: Positive = 1.0
    """Weight of the alignment loss. INFERRED (strong)."""
    normalise_patches: bool = False
    """Compare with each target patch normalised by itself. INFERRED: off (D-19)."""
    count_padding: bool = False
    """Whether voxels that pad the crop enter the patch loss; they do for the authors (D-5)."""
    report_positions: Literal["masked", "all"] = "masked"
    """Words in the report loss: the hidden ones, or all real ones (nearer the authors)."""

    @model_validator(mode="after")
    def _has_a_loss(self) -> "TermsConfig":
        if not (self.masked_volume or self.masked_report or self.alignment):
            raise ValueError(
                "no term has a loss; switch on masked_volume, masked_report or alignment "
                "(fusion alone acts through the masked report)"
            )
        return self


class OptimizerConfig(Section):
    """AdamW with linear warm-up and a half cosine to zero, per step."""

    lr: Positive = 1.5e-4
    """Peak learning rate, absolute. INFERRED (strong)."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.05
    """Not on biases and norms. INFERRED (strong)."""
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.95)
    """Decay of AdamW's two averages. INFERRED (strong)."""
    batch_size: Count = 14
    """Studies per step and device. UNKNOWN (successor: 4 devices x 14 x 8)."""
    accumulate: Count = 8
    """Batches whose gradients are averaged into one update. UNKNOWN (successor: 8)."""
    length: Count = 200
    """Length of the run, and of the cosine, in `unit`. UNKNOWN (successor: 200)."""
    warmup: Annotated[int, Field(ge=0)] = 20
    """Length of the linear rise at the start, in `unit`. UNKNOWN (lineage: 20 to 40)."""
    unit: Literal["epochs", "steps"] = "epochs"
    """Unit of `length` and `warmup`; a step is one update."""
    clip: Positive | None = None
    """Largest gradient norm; the authors clip nothing."""


class TrainerConfig(Section):
    """How the loop runs."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: a GPU where there is one."""
    devices: Count = 1
    """Processes that train together, one per GPU; each has batches of its own."""
    precision: Annotated[Literal["auto", "32", "bf16"], BeforeValidator(str)] = "auto"
    """auto: bf16 on a GPU that has it, 32-bit else (bf16 is slower on most CPUs)."""
    workers: Annotated[int, Field(ge=0)] = 4
    """Processes that read volumes."""
    keep_in_memory: bool = False
    """Keep the int16 volumes in memory after the first read."""
    checkpoint_steps: Count = 500
    """Updates between two resume points."""
    validation_epochs: Count = 1
    """Epochs between two looks at the validation studies."""
    log_steps: Count = 10
    """Updates between two logged values."""


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

    @model_validator(mode="after")
    def _fits_together(self) -> "Config":
        num_patches = self.volume.contract().patch_grid.num_patches
        if num_patches * (1 - self.masking.patch_ratio) < 1:
            raise ValueError(f"masking.patch_ratio hides all {num_patches} patches")
        for name in ("vision_encoder", "vision_decoder", "fusion"):
            part = getattr(self, name)
            if part.dim % part.heads:
                raise ValueError(f"{name}.dim {part.dim} is no multiple of its {part.heads} heads")
        if self.optimizer.warmup >= self.optimizer.length:
            raise ValueError("optimizer.warmup must be shorter than optimizer.length")
        return self
