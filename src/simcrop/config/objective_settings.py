"""The terms of the loss, and the similarity-driven alignment."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from simcrop.config.section import Count, Positive, Section


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
