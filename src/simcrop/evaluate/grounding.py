"""Does a sentence find its voxels? Pointing game, hit@k and patch AUROC, each with its control.

All figures are over *body* patches: an encoder likes to store what it knows in empty air, and
leaving air out of the count raises an AUROC by itself. A map may also look good because its
finding always lies in the same place. So each figure stands beside the same figure of the
*swapped* map, the same sentence on another study's volume judged by this study's mask, and the
difference of the two is what the voxels themselves contribute. The chance level is the share
of body patches that lie in the mask.

A patch is a *target* when it holds at least a tenth of the mask voxels that the fullest patch
holds. One rule serves a nodule smaller than a patch, a thin plate and a whole lung; it drops
patches that the mask only grazes, and a mask inside the crop always has a target.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float

from simcrop.evaluate.classification import auroc
from simcrop.evaluate.intervals import Interval, LabelIntervals, mean_intervals


@dataclass(frozen=True)
class GroundedSentence:
    """A sentence with a mask, its map, and the map of the same sentence on another study.

    Attributes:
        label: the finding that the sentence is about; figures are reported per label.
        similarity: of the sentence with every patch of its own study's volume.
        swapped_similarity: of the same sentence with every patch of another study's volume.
        mask_share: share of each patch's voxels that lie in the mask, in [0, 1].
        is_body: the candidate patches of the own volume, those that pre-training may select;
            both maps are judged on these.
    """

    study_id: str
    patient_id: str
    label: str
    sentence: str
    similarity: Float[np.ndarray, " patches"]
    swapped_similarity: Float[np.ndarray, " patches"]
    mask_share: Float[np.ndarray, " patches"]
    is_body: Bool[np.ndarray, " patches"]


@dataclass(frozen=True)
class SentenceScores:
    """The figures of one sentence; `chance` is the level of `hit` and `hit_at_k`."""

    chance: float
    hit: float
    swapped_hit: float
    hit_at_k: float
    swapped_hit_at_k: float
    patch_auroc: float
    swapped_patch_auroc: float

    @property
    def hit_difference(self) -> float:
        """Hit minus swapped hit: the figure of merit."""
        return self.hit - self.swapped_hit


@dataclass(frozen=True)
class GroundingRow:
    """The figures of one label, or their mean over labels, with intervals over patients."""

    label: str
    num_sentences: int
    chance: Interval
    hit: Interval
    swapped_hit: Interval
    hit_difference: Interval
    hit_at_k: Interval
    swapped_hit_at_k: Interval
    patch_auroc: Interval
    swapped_patch_auroc: Interval

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.to_dict() if isinstance(value, Interval) else value
            for name, value in values.items()
        }


FIGURES = tuple(field.name for field in fields(GroundingRow) if field.type is Interval)


@dataclass(frozen=True)
class GroundingResult:
    """One row per label, sorted by name, and their unweighted mean.

    Attributes:
        num_left_out: sentences whose mask holds no body patch of the crop.
        top_k: the k of `hit_at_k`.
        min_relative_share: what makes a patch a target.
    """

    rows: tuple[GroundingRow, ...]
    mean: GroundingRow
    num_left_out: int
    top_k: int
    min_relative_share: float

    def to_dict(self) -> dict[str, object]:
        """Return plain values for JSON."""
        return {
            "mean": self.mean.to_dict(),
            "labels": [row.to_dict() for row in self.rows],
            "num_left_out": self.num_left_out,
            "top_k": self.top_k,
            "min_relative_share": self.min_relative_share,
        }


def target_patches(
    mask_share: Float[np.ndarray, " patches"],
    is_body: Bool[np.ndarray, " patches"],
    *,
    min_relative_share: float = 0.1,
) -> Bool[np.ndarray, " patches"]:
    """Return the body patches that hold the finding; 0 takes every patch that it touches."""
    share = np.where(is_body, mask_share, 0)
    return (share > 0) & (share >= min_relative_share * share.max(initial=0))


def pointing_hit(
    similarity: Float[np.ndarray, " patches"],
    is_target: Bool[np.ndarray, " patches"],
    is_body: Bool[np.ndarray, " patches"],
) -> bool:
    """Return whether the most similar body patch is a target; the first of equals is taken."""
    return bool(is_target[np.argmax(np.where(is_body, similarity, -np.inf))])


def hit_at_k(
    similarity: Float[np.ndarray, " patches"],
    is_target: Bool[np.ndarray, " patches"],
    is_body: Bool[np.ndarray, " patches"],
    top_k: int,
) -> float:
    """Return the share of targets among the k most similar body patches (all when fewer)."""
    order = np.argsort(-similarity[is_body], kind="stable")
    return float(is_target[is_body][order[:top_k]].mean())


def score_sentence(
    sentence: GroundedSentence, *, top_k: int, min_relative_share: float = 0.1
) -> SentenceScores | None:
    """Return all figures of a sentence, or None when its mask holds no body patch.

    Raises:
        ValueError: if a similarity of a body patch is not finite.
    """
    body = sentence.is_body
    target = target_patches(sentence.mask_share, body, min_relative_share=min_relative_share)
    if not target.any():
        return None
    own, swapped = sentence.similarity, sentence.swapped_similarity
    return SentenceScores(
        chance=float(target[body].mean()),
        hit=float(pointing_hit(own, target, body)),
        swapped_hit=float(pointing_hit(swapped, target, body)),
        hit_at_k=hit_at_k(own, target, body, top_k),
        swapped_hit_at_k=hit_at_k(swapped, target, body, top_k),
        patch_auroc=auroc(own[body], target[body]),
        swapped_patch_auroc=auroc(swapped[body], target[body]),
    )


def evaluate_grounding(
    sentences: Sequence[GroundedSentence],
    *,
    top_k: int,
    min_relative_share: float = 0.1,
    num_resamples: int = 1000,
    seed: int = 0,
) -> GroundingResult:
    """Return the figures per label and their mean over labels, with intervals over patients.

    Raises:
        ValueError: if no sentence has a target, so that there is nothing to report.
    """
    scored = [
        (sentence, score)
        for sentence in sentences
        if (score := score_sentence(sentence, top_k=top_k, min_relative_share=min_relative_share))
    ]
    if not scored:
        raise ValueError(
            f"none of {len(sentences)} sentences has a mask on a body patch; "
            "expected at least one. Check that masks and crops lie on the same grid"
        )
    labels, label_of_item = np.unique([s.label for s, _ in scored], return_inverse=True)
    patient_ids = [sentence.patient_id for sentence, _ in scored]

    def intervals(name: str) -> LabelIntervals:
        values = np.array([getattr(score, name) for _, score in scored])
        return mean_intervals(
            values, label_of_item, len(labels), patient_ids, num_resamples=num_resamples, seed=seed
        )

    columns = {name: intervals(name) for name in FIGURES}
    rows = tuple(
        GroundingRow(
            label=str(label),
            num_sentences=int((label_of_item == i).sum()),
            **{name: columns[name].per_label[i] for name in FIGURES},
        )
        for i, label in enumerate(labels)
    )
    mean = GroundingRow("mean", len(scored), **{name: columns[name].mean for name in FIGURES})
    return GroundingResult(rows, mean, len(sentences) - len(scored), top_k, min_relative_share)
