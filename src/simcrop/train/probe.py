"""The linear probe: what a frozen encoder knows, by one linear classifier per label.

Features are computed once. The classifier is fitted on training patients, its regularisation
chosen on validation patients, and the figures come from test patients, who see no choice.

Paper: downstream classification by linear probing (method.md, section 11).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from simcrop.data.splits import take_fraction
from simcrop.data.store import Store
from simcrop.errors import DataError, complain
from simcrop.evaluate.classification import fit_linear_probe
from simcrop.evaluate.intervals import LabelIntervals, auroc_intervals
from simcrop.train.features import Features


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
    if store.labels is None:
        raise DataError(
            complain(f"{store.folder} has no labels", "labels.csv in the archive", "Add it.")
        )
    index = features.index
    is_labelled = index["study_id"].isin(store.labels.index)
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
                    f"{store.folder} has no labelled volume in its {split} part",
                    "at least one patient in train and in test",
                    "Prepare more patients, or give reports.csv a `split` column.",
                )
            )
    vectors, labels = features.volume_embeddings, _labels(store.labels, index)
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
        label_names=tuple(store.labels.columns),
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
