"""SimCroP assembled: the paper's figure as one forward pass.

    volume --mask--> vision encoder --> vision decoder ------------------> hidden patches
                          |                                                (masked volume)
                          |  g_image
                          +-----------> patch embeddings ----+
    findings --> frozen text encoder --> g_text, per sentence +---------> alignment
                          |
    report --mask--> frozen text encoder --> g_report --> fusion --> text decoder --> words
                                                            ^                (masked report)
                          visible patch tokens -------------+

The module holds what trains. The frozen text encoder stands outside: its states come in as
tensors, so that they may be cached. Losses are in `simcrop.objectives`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from simcrop.geometry import PatchGrid
from simcrop.model.dropout import Dropout, per_place
from simcrop.model.fusion import FusionLayer
from simcrop.model.patch_masking import PatchMasking
from simcrop.model.projection import (
    ProjectionHead,
    StandardisedHead,
    has_words,
    pool_sentences,
)
from simcrop.model.standardise import Moments, Standardise
from simcrop.model.text_decoder import TextDecoder
from simcrop.model.vision_decoder import VisionDecoder
from simcrop.model.vision_encoder import VisionEncoder
from simcrop.types import Patches


@dataclass(frozen=True)
class Terms:
    """Which parts of the method are on; a part that is off has no parameters.

    Fusion has no loss of its own: it acts through the masked report.
    """

    masked_volume: bool = True
    masked_report: bool = True
    alignment: bool = True
    fusion: bool = True
    instance_contrast: bool = False

    @property
    def shared_space(self) -> bool:
        """Whether findings and volumes meet in the shared space."""
        return self.alignment or self.instance_contrast


class SimCroPInput(NamedTuple):
    """One batch; text fields are empty where their term is off, `dropout` is for training alone."""

    patches: Patches
    findings_states: Float[Tensor, "batch findings_words text_dim"]
    sentence_of_word: Int[Tensor, "batch findings_words"]
    num_sentences: int
    report_states: Float[Tensor, "batch report_words text_dim"]
    report_is_valid: Bool[Tensor, "batch report_words"]
    report_is_counted: Bool[Tensor, "batch report_words"]
    dropout: Dropout | None = None


class SecondPass(NamedTuple):
    """A pass of its own for what meets the findings (method.md D-4); None sees every patch."""

    visible: Int[Tensor, "batch seen"] | None = None


class FindingsEmbeddings(NamedTuple):
    """The findings in the shared space: by sentence and as a whole; None where the term is off."""

    sentences: Float[Tensor, "batch sentences shared"] | None
    report: Float[Tensor, "batch shared"] | None
    moments: Moments | None = None  # of the sentences, for `SimCroP.see`, in training


class SimCroPOutput(NamedTuple):
    """What the objectives need; None where the term is off.

    `aligned_patches` names the patch behind each row of `patch_embeddings`. Embeddings are not
    scaled to unit length: the average of the selected patches is taken before scaling.
    """

    predicted_patches: Float[Tensor, "batch masked patch_voxels"] | None
    patch_embeddings: Float[Tensor, "batch candidates shared"] | None
    aligned_patches: Int[Tensor, "batch candidates"] | None
    sentence_embeddings: Float[Tensor, "batch sentences shared"] | None
    word_logits: Float[Tensor, "counted vocabulary"] | None
    volume_embeddings: Float[Tensor, "batch shared"] | None
    report_embeddings: Float[Tensor, "batch shared"] | None
    moments: Moments | None = None  # of the patch tokens, for `SimCroP.see`, in training


class SimCroP(nn.Module):
    """Vision encoder, vision decoder, projections, fusion layer and text decoder.

    Args:
        vision_encoder: the network that is kept after pre-training.
        vision_decoder, fusion, text_decoder: parts of the terms that are on, else None.
        text_dim: width of the frozen text encoder's states.
        shared_dim: width of the space where sentences meet patches.
        report_dim: width of fusion and text decoder.
        terms: which terms are on.
        normalise_text: put a LayerNorm without weights before the heads of text states.
        standardise: take what is usual from patches and sentences before they meet, see
            `Standardise`; sentences are then pooled before they are projected.
        fusion_in_shared_space: let words look at the patch embeddings of the alignment's pass
            instead of the visible tokens of masked modelling.
        reach: attention reach of the pass that meets the findings, see `VisionEncoder.forward`.
    """

    image_projection: nn.Module
    sentence_projection: ProjectionHead

    def __init__(
        self,
        vision_encoder: VisionEncoder,
        *,
        vision_decoder: VisionDecoder | None,
        fusion: FusionLayer | None,
        text_decoder: TextDecoder | None,
        text_dim: int,
        shared_dim: int = 768,
        report_dim: int = 768,
        terms: Terms = Terms(),
        normalise_text: bool = False,
        standardise: bool = False,
        fusion_in_shared_space: bool = False,
        reach: int | None = None,
    ) -> None:
        super().__init__()
        self.terms = terms
        self.reach = reach
        self.vision_encoder = vision_encoder
        self.vision_decoder = vision_decoder
        self.fusion = fusion
        self.text_decoder = text_decoder
        if vision_decoder is None and fusion is None and not terms.shared_space:
            vision_encoder.requires_grad_(False)  # no term reads the volume
        self.standardise = standardise
        self.fusion_in_shared_space = fusion_in_shared_space

        def text_head(out_dim: int) -> ProjectionHead:
            norm = nn.LayerNorm(text_dim, elementwise_affine=False) if normalise_text else None
            return ProjectionHead(text_dim, out_dim, first=norm)

        if terms.alignment and standardise:
            self.image_projection = StandardisedHead(vision_encoder.position, shared_dim)
            usual = Standardise(1, text_dim)
            self.sentence_projection = ProjectionHead(text_dim, shared_dim, first=usual)
        elif terms.alignment:
            self.image_projection = ProjectionHead(vision_encoder.dim, shared_dim)
            self.sentence_projection = text_head(shared_dim)
        if terms.instance_contrast:
            self.volume_projection = ProjectionHead(vision_encoder.dim, shared_dim)
            self.findings_projection = text_head(shared_dim)
        if terms.masked_report:
            self.report_projection = text_head(report_dim)

    @property
    def grid(self) -> PatchGrid:
        """Geometry of crop and patches."""
        return self.vision_encoder.grid

    def forward(
        self,
        batch: SimCroPInput,
        masking: PatchMasking,
        second_pass: SecondPass | None = None,
        findings: FindingsEmbeddings | None = None,
    ) -> SimCroPOutput:
        """Run the terms that are on; see the module's figure.

        Args:
            batch: volumes and words.
            masking: the patches that masked modelling shows and hides.
            second_pass: patches of a further encoder pass on which findings are aligned; without
                it they are aligned on the visible patches of `masking`, as in the paper.
            findings: what `embed_findings` gave, if it was called before.
        """
        terms = self.terms
        if not terms.shared_space:
            second_pass = None
        predicted = logits = tokens = embeddings = volumes = moments = None
        one_pass = terms.shared_space and second_pass is None
        looks_masked = self.fusion is not None and not self.fusion_in_shared_space
        if self.vision_decoder is not None or looks_masked or one_pass:
            reach = self.reach if one_pass else None
            cls_token, tokens, _ = self.vision_encoder(batch.patches, masking.visible, reach)
            if self.vision_decoder is not None:
                predicted = self.vision_decoder(cls_token, tokens, masking)
        looked_at, seen = tokens, masking.visible
        if second_pass is not None:
            tokens = self.vision_encoder(batch.patches, second_pass.visible, self.reach)[1]
            seen = second_pass.visible
            if seen is None:
                seen = torch.arange(tokens.shape[1], device=tokens.device).expand(len(tokens), -1)
        if terms.alignment:
            assert tokens is not None
            embeddings = self.image_projection(tokens, *([seen] if self.standardise else []))
            if self.standardise and self.training:
                moments = self._usual()[0].moments(tokens, seen)
        if self.text_decoder is not None:
            looked_at = embeddings if self.fusion_in_shared_space else looked_at
            logits = self.reconstruct_report(batch, looked_at)
        if terms.instance_contrast:
            assert tokens is not None
            volumes = self.volume_projection(tokens.mean(dim=1))
        if findings is None:
            findings = self.embed_findings(
                batch.findings_states, batch.sentence_of_word, batch.num_sentences
            )
        return SimCroPOutput(
            predicted,
            embeddings,
            seen if terms.alignment else None,
            findings.sentences,
            logits,
            volumes,
            findings.report,
            moments,
        )

    def see(
        self,
        patches: Float[Tensor, "patches patch_moments"],
        sentences: Float[Tensor, "1 sentence_moments"],
    ) -> None:
        """Take the moments of a batch into what is usual; only with `standardise`."""
        for usual, moments in zip(self._usual(), (patches, sentences), strict=True):
            usual.see(moments)

    def _usual(self) -> tuple[Standardise, Standardise]:
        """Return what is usual of patches and of sentences."""
        patches, sentences = self.image_projection, self.sentence_projection[0]
        assert isinstance(patches, StandardisedHead)
        assert isinstance(sentences, Standardise)
        return patches.standardise, sentences

    def embed_patches(self, patches: Patches) -> Float[Tensor, "batch patches shared"]:
        """Return every patch in the shared space, all patches being seen."""
        return self.image_projection(self.vision_encoder(patches, reach=self.reach).patch_tokens)

    def embed_findings(
        self,
        word_states: Float[Tensor, "batch words text_dim"],
        sentence_of_word: Int[Tensor, "batch words"],
        num_sentences: int,
    ) -> FindingsEmbeddings:
        """Return what the terms that are on compare with volumes; no volume is needed for it."""
        sentences = report = moments = None
        if self.terms.alignment:
            sentences = self.embed_sentences(word_states, sentence_of_word, num_sentences)
            if self.standardise and self.training:
                states = pool_sentences(word_states, sentence_of_word, num_sentences)
                counted = has_words(sentence_of_word, num_sentences)
                moments = self._usual()[1].moments(states, is_counted=counted)
        if self.terms.instance_contrast:
            whole = pool_sentences(word_states, (sentence_of_word > 0).long(), 1)[:, 0]
            report = self.findings_projection(whole)
        return FindingsEmbeddings(sentences, report, moments)

    def embed_sentences(
        self,
        word_states: Float[Tensor, "batch words text_dim"],
        sentence_of_word: Int[Tensor, "batch words"],
        num_sentences: int,
    ) -> Float[Tensor, "batch sentences shared"]:
        """Return every sentence: the mean of its projected words, standardised their mean's."""
        if self.standardise:
            states = pool_sentences(word_states, sentence_of_word, num_sentences)
            return self.sentence_projection(states)
        return pool_sentences(
            self.sentence_projection(word_states), sentence_of_word, num_sentences
        )

    def reconstruct_report(
        self, batch: SimCroPInput, patch_tokens: Float[Tensor, "batch looked_at patch_dim"] | None
    ) -> Float[Tensor, "counted vocabulary"]:
        """Return logits of the counted words of the masked report.

        The volume helps where fusion is on; without it `patch_tokens` may be None.
        """
        assert self.text_decoder is not None
        in_fusion, in_decoder = per_place(batch.dropout, 2)
        words = self.report_projection(batch.report_states)
        if self.fusion is not None:
            words = self.fusion(words, batch.report_is_valid, patch_tokens, in_fusion)
        is_valid, is_counted = batch.report_is_valid, batch.report_is_counted
        return self.text_decoder(words, is_valid, is_counted, in_decoder)
