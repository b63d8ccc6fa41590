"""The result folder of an evaluation of grounding: what `simcrop ground-eval` leaves."""

from collections.abc import Mapping

from simcrop.evaluate.grounded_sentence import OWN
from simcrop.evaluate.grounding_tables import (
    controls_table,
    erasing_table,
    findings_table,
    hits_figure,
    mirroring_table,
)
from simcrop.evaluate.items import Items, items_of_groups
from simcrop.evaluate.results import SELECTED_ON_TEST, Drawing, NamedSet, Result
from simcrop.evaluate.tables import Table
from simcrop.train.checkpoint import versions
from simcrop.train.grounding_study import GroundingStudy

_FIGURES_OF_ITEMS = ("hit", "patch_auroc", "average_precision", "dice", "distance_mm",
                     "depth_error_mm")  # fmt: skip


def grounding_result(
    study: GroundingStudy,
    *,
    contract_hash: str,
    seed: int,
    split: str,
    selected_on_test: bool,
    examples: Mapping[str, Drawing],
) -> Result:
    """Return the result folder's content.

    Args:
        study: what was found.
        contract_hash: of the store.
        seed: of resamples, random maps and random regions.
        split: the store's split.
        selected_on_test: whether validation and test are the same studies.
        examples: pictures by name.
    """
    result = study.result
    figures = {
        **result.to_dict(),
        "groups": {name: row.to_dict() for name, row in study.groups.items()},
        "faithfulness": [row.to_dict() for row in study.faithfulness],
    }
    caption = "Every finding's figures, and the hits of maps that see less."
    return Result(
        command="ground-eval",
        figures=figures,
        sets={
            study.part: NamedSet.of(study.volume_ids),
            "sentences": NamedSet.of(one.mask_path for one in result.scored),
        },
        contract_hash=contract_hash,
        seeds=(seed,),
        versions=versions(),
        settings={
            "part": study.part,
            "split": split,
            "top_k": result.top_k,
            "num_training_masks": study.num_training_masks,
            "dice_thresholds_from": study.thresholds_from,
        },
        note=SELECTED_ON_TEST if selected_on_test and study.part == "test" else "",
        items=_items(study),
        tables=_tables(study),
        drawings={"hits": Drawing(hits_figure(result), caption), **examples},
    )


def _tables(study: GroundingStudy) -> dict[str, Table]:
    """Return the tables by captions that say how to read them."""
    tables = {
        "Sentences on their own volume, over body patches. Chance is the share of body patches in "
        "the finding; swapped is the same sentence on another patient's volume. Dice counts "
        "voxels of whole patches above a similarity that validation studies chose, or other "
        "patients where those are reported (a hyphen without any). Groups are means over their "
        "findings.": findings_table(study.result, study.groups),
        "The mean over findings, map by map. `position` maps are made of training masks alone and "
        "know no image; with words they also know the side and level that the sentence "
        "names.": controls_table(study.result),
    }
    rows = study.faithfulness
    if any(row.num_erased for row in rows):
        tables[
            "The finding erased (filled with the HU of the tissue beside it) against a region of "
            "the same shape elsewhere in the body: fall of the sentence's similarity where it was "
            "erased, and how often the whole volume's score falls more (chance 0.5)."
        ] = erasing_table(rows)
    if any(row.num_mirrored or row.num_sided for row in rows):
        tables[
            "The volume mirrored left to right. Findings on one side: does the peak of the "
            "sentence, its sides exchanged, go with them, or is the sentence's peak where the "
            "finding was. Sentences that name one side: how often they win against themselves "
            "with sides exchanged, before and after mirroring (it should be lost), and how often "
            "the lead falls (chance 0.5)."
        ] = mirroring_table(rows)
    return tables


def _items(study: GroundingStudy) -> tuple[Items, ...]:
    """Return every figure of the own maps sentence by sentence, and the hits of the controls."""
    scored, values = study.result.scored, study.result.values
    ids = [one.mask_path for one in scored]
    patients = [one.patient_id for one in scored]
    labels = [one.label for one in scored]
    wanted = [("pre-trained", OWN, figure) for figure in _FIGURES_OF_ITEMS]
    wanted += [(name, name, "hit") for name in values if name != OWN]
    return tuple(
        items_of_groups(
            model, figure, ids, patients, labels, values[name][figure],
            higher_is_better=not figure.endswith("_mm"),
        )
        for model, name, figure in wanted
    )  # fmt: skip
