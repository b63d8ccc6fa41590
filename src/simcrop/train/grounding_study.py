"""The whole evaluation of grounding on a store: figures, controls, groups, edits, examples.

Validation studies choose the thresholds of Dice (other patients, where validation studies are
reported themselves), training masks make the maps that know no image, and the studies of one part
are reported.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from simcrop.data.store import Store
from simcrop.data.volume import Volume
from simcrop.errors import DataError, complain
from simcrop.evaluate.dice_thresholds import DiceThresholds, chosen_on, chosen_on_others
from simcrop.evaluate.faithfulness import FaithfulnessRow, summarise_answers
from simcrop.evaluate.grounded_sentence import OWN, GroundedSentence
from simcrop.evaluate.grounding import (
    GroundingResult,
    GroundingRow,
    evaluate_grounding,
)
from simcrop.evaluate.position_maps import PositionMaps
from simcrop.evaluate.results import Drawing
from simcrop.evaluate.slices import mask_voxel
from simcrop.train.faithfulness import answers_of
from simcrop.train.features import Features, Progress, embed_store
from simcrop.train.ground import picture
from simcrop.train.grounding import denials, ground_store, with_position_maps
from simcrop.train.masks import masks_with_sentences, read_crop, training_masks
from simcrop.train.pretrained import Pretrained

PARTS = ("train", "val", "test")
_HOLDS_VAL = ("val", "all")  # parts that cannot leave the thresholds of Dice to validation studies


@dataclass(frozen=True, eq=False)
class GroundingStudy:
    """What an evaluation of grounding found.

    Attributes:
        part: the part of the store that is reported, or `all`.
        result: positive sentences, finding by finding.
        groups: the mean rows of focal and of diffuse findings, of sentences that are negated in
            the table of masks, and of the denials of findings that are there; those that occur.
        faithfulness: what edits of the volumes did, or none if they were not made.
        volume_ids: the volumes reported.
        num_training_masks: behind the maps that know no image.
        thresholds_from: who chose the thresholds of Dice: `val`, `other patients` or `nobody`.
    """

    part: str
    result: GroundingResult
    groups: Mapping[str, GroundingRow]
    faithfulness: tuple[FaithfulnessRow, ...]
    volume_ids: tuple[str, ...]
    num_training_masks: int
    thresholds_from: str


def study_grounding(
    pretrained: Pretrained,
    store: Store,
    *,
    part: str = "test",
    top_k: int | None = None,
    with_edits: bool = True,
    num_resamples: int = 1000,
    seed: int = 0,
    on_progress: Progress = lambda done, total, what: None,
) -> GroundingStudy:
    """Evaluate every sentence with a mask in one part of a store.

    Args:
        pretrained: a checkpoint trained with the alignment or the contrast of wholes.
        store: with masks.
        part: `train`, `val`, `test` or `all`.
        top_k: the k of hit@k and of the whole volume's score; the checkpoint's own unless given.
        with_edits: also erase findings and mirror volumes: two to four more passes per sentence.
        num_resamples: of the patients.
        seed: of resamples, random maps and random regions.
        on_progress: called with (done, total, what).

    Raises:
        DataError: if the store has no masks, or none in this part on a body patch.
    """
    k = top_k or pretrained.config.alignment.top_k
    features = _embed(pretrained, store, part, on_progress)
    reported = features if part == "all" else features.of(part)
    masks = list(training_masks(store, pretrained))
    position = PositionMaps(masks)

    def ground(of: Features) -> list[GroundedSentence]:
        return with_position_maps(ground_store(pretrained, store, of, seed=seed), position)

    everything = ground(reported)
    sentences = [one for one in everything if not one.is_negated]
    others = None if part in _HOLDS_VAL else features.of("val")
    validation = ground(others) if others is not None and len(others.index) else []
    thresholds, chosen_by = _thresholds(sentences, None if others is None else validation)
    if not any(one.has_target for one in sentences):
        raise DataError(_nothing(store, part, "mask of a positive sentence on a body patch"))

    def evaluate(group: Sequence[GroundedSentence]) -> GroundingResult:
        return evaluate_grounding(
            group, top_k=k, thresholds=thresholds, num_resamples=num_resamples, seed=seed
        )

    groups = _groups(everything)
    groups["denials of what is there"] = denials(sentences, pretrained, reported)
    result = evaluate(sentences)
    answers: tuple[FaithfulnessRow, ...] = ()
    if with_edits:
        scored = result.scored
        answered = answers_of(
            pretrained, store, scored, top_k=k, seed=seed, on_progress=on_progress
        )
        answers = summarise_answers(
            answered, [s.label for s in scored], [s.patient_id for s in scored],
            num_resamples=num_resamples, seed=seed,
        )  # fmt: skip
    return GroundingStudy(
        part=part,
        result=result,
        groups={
            name: evaluate(group).mean
            for name, group in groups.items()
            if any(one.has_target for one in group)
        },
        faithfulness=answers,
        volume_ids=tuple(dict.fromkeys(one.volume_id for one in result.scored)),
        num_training_masks=len(masks),
        thresholds_from=chosen_by if thresholds.any else "nobody",
    )


def draw_examples(
    study: GroundingStudy, pretrained: Pretrained, store: Store
) -> dict[str, Drawing]:
    """Draw the best, the median and the worst sentence by patch AUROC, focal and diffuse ones.

    By rank, so that nobody picks what looks good. The slices run through the finding.
    """
    aurocs = study.result.values[OWN]["patch_auroc"]
    ranked = sorted(zip(aurocs, study.result.scored, strict=True), key=lambda pair: pair[0])
    drawings = {}
    for extent in ("focal", "diffuse"):
        group = [pair for pair in ranked if pair[1].is_diffuse == (extent == "diffuse")]
        places = {"best": len(group) - 1, "median": len(group) // 2, "worst": 0}
        for name, place in places.items():
            if place < 0 or (place == 0 and name != "best" and len(group) < 3):
                continue
            auroc, one = group[place]
            caption = f"{name.capitalize()} of {len(group)} {extent} sentences: patch AUROC "
            drawings[f"example_{extent}_{name}"] = Drawing(
                _draw(one, pretrained, store), f"{caption}{auroc:.2f}, {one.label}."
            )
    return drawings


def _draw(one: GroundedSentence, pretrained: Pretrained, store: Store) -> Figure:
    hu, affine = store.read_hu(one.volume_id)
    mask = store.read_mask(one.mask_path)
    maps = pretrained.similarity_map(read_crop(store, one.volume_id, pretrained), [one.sentence])
    volume = Volume(hu, affine, one.volume_id)
    return picture(maps, 0, one.sentence, volume, mask, at=mask_voxel(mask))


def _groups(everything: Sequence[GroundedSentence]) -> dict[str, list[GroundedSentence]]:
    positive = [one for one in everything if not one.is_negated]
    return {
        "focal findings": [one for one in positive if not one.is_diffuse],
        "diffuse findings": [one for one in positive if one.is_diffuse],
        "negated sentences": [one for one in everything if one.is_negated],
    }


def _thresholds(
    sentences: Sequence[GroundedSentence], validation: Sequence[GroundedSentence] | None
) -> tuple[DiceThresholds, str]:
    """Return the thresholds of Dice and whose they are; None where validation is reported."""
    if validation is None:
        return chosen_on_others(sentences), "other patients"
    return chosen_on(validation), "val"


def _embed(pretrained: Pretrained, store: Store, part: str, on_progress: Progress) -> Features:
    """Embed the volumes with masks of a part, and of the validation part where it chooses."""
    reported = PARTS if part == "all" else (part,)
    volumes = [volume for split in reported for volume in store.volume_ids(split)]
    if not len(masks_with_sentences(store, volumes)):
        raise DataError(_nothing(store, part, "mask with a sentence or a known label"))
    splits = reported if part in _HOLDS_VAL else ("val", part)
    masked = set(masks_with_sentences(store, store.volume_ids())["volume_id"])
    return embed_store(
        pretrained, store, splits=splits, only=masked, with_patches=True, on_progress=on_progress
    )


def _nothing(store: Store, part: str, what: str) -> str:
    return complain(
        f"{store.location} has no {what} in its part {part!r}",
        "at least one",
        "Choose another --part, or add masks to the archive's masks.csv and prepare again.",
    )
