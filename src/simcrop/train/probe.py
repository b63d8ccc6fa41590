"""The linear probe: what a frozen encoder knows, by one linear classifier per label.

Features are computed once. The classifier is fitted on training patients, its regularisation
chosen on validation patients, and the figures come from test patients, who see no choice.

Paper: downstream classification by linear probing (method.md, section 11).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from simcrop.data.atomic import atomic_path
from simcrop.data.splits import hash_of, take_fraction
from simcrop.data.store import Store
from simcrop.errors import DataError, complain
from simcrop.evaluate.classification import fit_linear_probe
from simcrop.evaluate.figures import roc_curves
from simcrop.evaluate.intervals import LabelIntervals, auroc_differences, auroc_intervals
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
        patient_ids: of the test volumes.
        num_train: training volumes used.
        c: inverse strength of the L2 penalty, chosen on validation patients.
    """

    label_names: tuple[str, ...]
    auroc: LabelIntervals
    scores: Float[np.ndarray, "volumes labels"]
    labels: Int[np.ndarray, "volumes labels"]
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
    """Write results.json, a markdown table and ROC curves of the first encoder."""
    folder.mkdir(parents=True, exist_ok=True)
    first = next(iter(results.values()))
    description = {
        "encoders": {name: describe_probe(result) for name, result in results.items()},
        "fraction": fraction,
        "seed": seed,
        "feature": feature,
        "test_set_hash": hash_of(store.volume_ids("test")),
        "split": store.split_name,
        "note": "selected on test" if store.selected_on_test else "",
        "num_test": len(first.labels),
        "contract_hash": store.contract.hash,
        "versions": versions(),
    }
    if len(results) > 1:
        other = list(results.values())[1]
        difference = auroc_differences(first.scores, other.scores, first.labels, first.patient_ids)
        description["difference"] = difference.to_dict(first.label_names)
    with atomic_path(folder / "results.json") as path:
        path.write_text(json.dumps(description, indent=2), encoding="utf-8")
    table = auroc_table(first.label_names, {name: r.auroc for name, r in results.items()})
    note = "\nselected on test\n" if store.selected_on_test else ""
    (folder / "table.md").write_text(table.markdown() + note, encoding="utf-8")
    roc_curves(first.scores, first.labels, first.label_names).savefig(folder / "roc.png", dpi=144)


def describe_probe(result: ProbeResult) -> dict[str, object]:
    """Return plain values for JSON."""
    return {
        "auroc": result.auroc.to_dict(result.label_names),
        "num_train": result.num_train,
        "c": result.c,
    }
