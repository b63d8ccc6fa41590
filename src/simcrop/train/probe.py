"""The linear probe: what a frozen encoder knows, by one linear classifier per label.

Features are computed once. The classifier is fitted on training patients, its regularisation
chosen on validation patients, and the figures come from test patients, who see no choice.

Paper: downstream classification by linear probing (method.md, section 11).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from simcrop.data.splits import take_fraction
from simcrop.data.store import Store
from simcrop.errors import DataError, complain
from simcrop.evaluate.classification import fit_linear_probe
from simcrop.evaluate.figures import roc_curves
from simcrop.evaluate.intervals import LabelIntervals, auroc_differences, auroc_intervals
from simcrop.evaluate.items import Items
from simcrop.evaluate.results import (
    SELECTED_ON_TEST,
    Drawing,
    NamedSet,
    Result,
    write_result,
)
from simcrop.evaluate.tables import auroc_table
from simcrop.train.checkpoint import versions
from simcrop.train.features import Features, Progress, embed_store
from simcrop.train.pretrained import Pretrained


@dataclass(frozen=True, eq=False)
class ProbeResult:
    """A fitted probe on the test studies.

    Attributes:
        label_names: the columns of labels.csv.
        auroc: per label and mean, with 95 % intervals over patients.
        scores: probability of each label for each test volume.
        labels: 0 or 1, likewise.
        volume_ids, patient_ids: of the test volumes.
        num_train: training volumes used.
        c: inverse strength of the L2 penalty, chosen on validation patients.
    """

    label_names: tuple[str, ...]
    auroc: LabelIntervals
    scores: Float[np.ndarray, "volumes labels"]
    labels: Int[np.ndarray, "volumes labels"]
    volume_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    num_train: int
    c: float


def probe(features: Features, store: Store, *, fraction: float = 1.0, seed: int = 0) -> ProbeResult:
    """Fit a probe on a fraction of the training patients and test it.

    Args:
        features: of the volumes of `store`, all three splits.
        store: gives the labels.
        fraction: share of the training patients, in (0, 1]; smaller ones are nested.
        seed: draws them.

    Raises:
        DataError: if the store has no labels, or no training or test volume.
    """
    table, index = store.need_labels(), features.index
    is_labelled = index["study_id"].isin(table.index)
    patients = index.loc[is_labelled & (index["split"] == "train"), "patient_id"].unique()
    chosen = set(take_fraction(patients, fraction, seed)) if len(patients) else set()
    is_chosen = (index["split"] != "train") | index["patient_id"].isin(chosen)
    parts = {
        split: np.flatnonzero(is_labelled & is_chosen & (index["split"] == split))
        for split in ("train", "val", "test")
    }
    for split in ("train", "test"):
        if not len(parts[split]):
            raise DataError(
                complain(
                    f"{store.location} has no labelled volume in its {split} part",
                    "at least one patient in train and in test",
                    "Prepare more patients, or give reports.csv a `split` column.",
                )
            )
    vectors, labels = features.volume_embeddings, _labels(table, index)
    fitted = fit_linear_probe(
        vectors[parts["train"]],
        labels[parts["train"]],
        vectors[parts["val"]],
        labels[parts["val"]],
    )
    test = parts["test"]
    scores = fitted.scores(vectors[test])
    patient_ids = tuple(index["patient_id"].iloc[test])
    return ProbeResult(
        label_names=tuple(table.columns),
        auroc=auroc_intervals(scores, labels[test], patient_ids),
        scores=scores,
        labels=labels[test],
        volume_ids=tuple(index["volume_id"].iloc[test]),
        patient_ids=patient_ids,
        num_train=len(parts["train"]),
        c=fitted.c,
    )


def _labels(table: pd.DataFrame, index: pd.DataFrame) -> Int[np.ndarray, "volumes labels"]:
    """Return the labels of every volume's study; 0 for studies without, which are not used."""
    return table.reindex(index["study_id"], fill_value=0).to_numpy(dtype=np.int64)


def probe_encoders(
    encoders: Mapping[str, Pretrained],
    store: Store,
    *,
    feature: str = "post_norm_gap",
    fraction: float = 1.0,
    seed: int = 0,
    on_progress: Progress = lambda done, total, what: None,
) -> dict[str, ProbeResult]:
    """Probe several encoders on the same patients; raises as `embed_store` and `probe` do."""
    return {
        name: probe(
            embed_store(encoder, store, feature=feature, on_progress=on_progress),
            store,
            fraction=fraction,
            seed=seed,
        )
        for name, encoder in encoders.items()
    }


def write_probe(
    results: Mapping[str, ProbeResult],
    store: Store,
    folder: Path,
    *,
    fraction: float,
    seed: int,
    feature: str,
) -> None:
    """Write the result folder: figures, table and ROC curves of the first encoder."""
    first = next(iter(results.values()))
    figures: dict[str, object] = {
        "encoders": {name: describe_probe(result) for name, result in results.items()}
    }
    if len(results) > 1:
        other = list(results.values())[1]
        difference = auroc_differences(first.scores, other.scores, first.labels, first.patient_ids)
        figures["difference"] = difference.to_dict(first.label_names)
    aurocs = {name: result.auroc for name, result in results.items()}
    curves = roc_curves(first.scores, first.labels, first.label_names)
    written = Result(
        command="probe",
        figures=figures,
        sets={"test": NamedSet.of(first.volume_ids)},
        contract_hash=store.contract.hash,
        seeds=(seed,),
        versions=versions(),
        settings={"fraction": fraction, "feature": feature, "split": store.split_name},
        note=SELECTED_ON_TEST if store.selected_on_test else "",
        items=tuple(
            Items(name, "auroc", result.volume_ids, result.patient_ids, result.label_names,
                  result.scores, result.labels)
            for name, result in results.items()
        ),
        tables={"AUROC of test volumes.": auroc_table(first.label_names, aurocs)},
        drawings={"roc": Drawing(curves, f"ROC curves of {next(iter(results))}.")},
    )  # fmt: skip
    write_result(written, folder)


def describe_probe(result: ProbeResult) -> dict[str, object]:
    """Return plain values for JSON."""
    return {
        "auroc": result.auroc.to_dict(result.label_names),
        "num_train": result.num_train,
        "c": result.c,
    }
