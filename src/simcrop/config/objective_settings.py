"""The terms of the loss, and the similarity-driven alignment."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from simcrop.config.section import BelowOne, Count, Positive, Section


class AlignmentConfig(Section):
    """Similarity-driven alignment."""

    top_k: Count = 32
    """Patches that a sentence selects. INFERRED (older working copy)."""
    top_k_start: Count | None = None
    """K at the start of the run, from where it falls to `top_k`; None keeps it constant, as in
    the paper. All patches (recommended) lets every patch learn before few are selected."""
    top_k_anneal: Annotated[float, Field(gt=0.0, le=1.0)] = 0.6
    """Share of the run in which K falls, geometrically."""
    whole_share: BelowOne = 0.0
    """Share in a volume's score that the mean of all its candidates has, beside the K selected
    patches: what few patches need not say, most of an organ and the mean token then have to.
    Needs `negatives=per_image`, since within one volume all sentences share that mean. Ours."""
    temperature: Positive = 0.07
    """Divides cosines in InfoNCE. INFERRED (strong)."""
    shared_dim: Count = 768
    """Width of the space where sentences meet patches. INFERRED (strong)."""
    negatives: Literal["within_report", "batch", "per_image"] = "within_report"
    """Faithful: within_report. Recommended: per_image, the only one that cannot be solved
    without looking at the image (D-2)."""
    duplicates: Literal["left_out", "positives"] = "left_out"
    """Sentences that say exactly the same: no pair at all (the authors compare them as
    strangers, D-1), or further positives."""
    candidates: Literal["all", "body"] = "all"
    """Patches that may be selected; `body` leaves out air and padding (D-5, recommended)."""
    volume_pass: Literal["masked", "unmasked"] = "masked"
    """Align on the visible quarter (faithful) or on a second pass that sees all (D-4)."""
    pass_every: Count = 1
    """The second pass is made in every n-th batch only; the others align on the visible
    quarter (D-4). At 1 and `unmasked` it costs about four masked encoder passes a step."""
    pass_ratio: BelowOne = 0.0
    """Share of patches hidden from the second pass; 0 hides none (D-4, lighter mask)."""
    reach: Annotated[int, Field(ge=0)] | None = None
    """Attention reach in patches of the alignment pass; null is global, as in the paper.
    1 (`base`) or 0 (recommended for grounding) keeps what a patch says about its own place."""
    sentence_weights: Literal["equal", "inverse_frequency"] = "equal"
    """Weight of a sentence; inverse_frequency is the log of its rarity in the training set."""
    reduction: Literal["report", "sentence"] = "report"
    """Average within reports first (D-10), or over all sentences as the authors do."""
    normalise_text: bool = False
    """LayerNorm on the frozen text states before the projections."""
    standardise: bool = False
    """Patches and sentences meet as deviations from what is usual: tokens by mean and deviation at
    their place of the grid, sentences by those of all sentences, running averages over training
    batches. The patch head is then linear. Ours (recommended at the tiny size)."""

    @model_validator(mode="after")
    def _has_volumes_to_tell_apart(self) -> "AlignmentConfig":
        if self.whole_share and self.negatives != "per_image":
            raise ValueError(
                f"whole_share {self.whole_share} with negatives {self.negatives}; it needs "
                "per_image: the mean of one volume is the same for all its sentences. Set it to 0."
            )
        return self


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
    instance_contrast: bool = False
    """Tell volumes and reports of the batch from each other as wholes. Not in the paper, whose
    weak zero-shot figures are ascribed to its absence."""
    patch_weight: Positive = 1.0
    """Weight of the patch loss; 0.75 is the authors' average over all voxels. INFERRED (strong)."""
    report_weight: Positive = 1.0
    """Weight of the report loss. INFERRED (strong)."""
    alignment_weight: Positive = 1.0
    """Weight of the alignment loss. INFERRED (strong)."""
    instance_weight: Positive = 1.0
    """Weight of the instance contrast. Ours."""
    normalise_patches: bool = False
    """Compare with each target patch normalised by itself. INFERRED: off (D-19)."""
    count_padding: bool = False
    """Whether voxels that pad the crop enter the patch loss; they do for the authors (D-5)."""
    report_positions: Literal["masked", "all"] = "masked"
    """Words in the report loss: the hidden ones, or all real ones (nearer the authors)."""

    @property
    def reads_findings(self) -> bool:
        """Whether the unmasked findings are needed."""
        return self.alignment or self.instance_contrast

    @model_validator(mode="after")
    def _has_a_loss(self) -> "TermsConfig":
        with_loss = ("masked_volume", "masked_report", "alignment", "instance_contrast")
        if not any(getattr(self, name) for name in with_loss):
            raise ValueError(
                f"no term has a loss; switch on one of {', '.join(with_loss)} "
                "(fusion alone acts through the masked report)"
            )
        return self
