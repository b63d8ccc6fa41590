"""The result folder of zero-shot findings: what `simcrop zero-shot` leaves."""

from simcrop.evaluate.classification_figures import (
    precision_recall_curves,
    reliability_diagrams,
    roc_curves,
)
from simcrop.evaluate.figures import auroc_dots
from simcrop.evaluate.items import Items
from simcrop.evaluate.results import SELECTED_ON_TEST, Drawing, NamedSet, Result
from simcrop.evaluate.tables import scorecard_table
from simcrop.train.checkpoint import versions
from simcrop.train.shared_space import GLOBAL, TOP_K
from simcrop.train.zero_shot import ZeroShotResult

_MEANING = {
    TOP_K: "each sentence over its most similar patches",
    GLOBAL: "whole volumes with whole sentences",
}


def zero_shot_result(
    found: ZeroShotResult,
    *,
    contract_hash: str,
    seed: int,
    split: str,
    selected_on_test: bool,
    prompts_hash: str,
    top_k: int,
) -> Result:
    """Return the result folder's content.

    Args:
        found: the scorecards.
        contract_hash: of the store.
        seed: of the resamples.
        split: the store's split.
        selected_on_test: whether validation and test are the same studies.
        prompts_hash: of all sentences, so that figures name their prompts.
        top_k: patches pooled per sentence.
    """
    names, labels, patients = found.label_names, found.labels, found.patient_ids
    drawn = found.own_pooling
    scores, points = found.scores[drawn], found.scorecards[drawn].points
    dots = auroc_dots(names, {pooling: card.auroc for pooling, card in found.scorecards.items()})
    return Result(
        command="zero-shot",
        figures={pooling: card.to_dict() for pooling, card in found.scorecards.items()},
        sets={found.part: NamedSet.of(found.volume_ids)},
        contract_hash=contract_hash,
        seeds=(seed,),
        versions=versions(),
        settings={
            "part": found.part,
            "split": split,
            "top_k": top_k,
            "prompts_hash": prompts_hash,
            "without_prompts": found.without_prompts,
        },
        note=SELECTED_ON_TEST if selected_on_test and found.part == "test" else "",
        items=tuple(
            Items(pooling, "auroc", found.volume_ids, patients, names, values, labels)
            for pooling, values in found.scores.items()
        ),
        tables={
            f"Findings from sentences alone, {pooling}: {_MEANING[pooling]}. Thresholds and "
            "temperatures were chosen on validation volumes.": scorecard_table(card)
            for pooling, card in found.scorecards.items()
        },
        drawings={
            "auroc": Drawing(dots, "AUROC of every label, by pooling."),
            "roc": Drawing(roc_curves(scores, labels, names, patients), f"ROC, {drawn}."),
            "precision_recall": Drawing(
                precision_recall_curves(scores, labels, names, patients),
                f"Precision over recall, {drawn}.",
            ),
            "reliability": Drawing(
                reliability_diagrams(scores, labels, names, points.temperatures),
                f"Observed over predicted share, {drawn}.",
            ),
        },
    )
