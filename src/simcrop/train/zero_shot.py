"""Findings of a store's volumes from sentences alone."""

import numpy as np
from jaxtyping import Bool, Float, Int

from simcrop.data.store import Store
from simcrop.evaluate.intervals import LabelIntervals, auroc_intervals
from simcrop.evaluate.prompts import PROMPTS, Prompts
from simcrop.evaluate.zero_shot import zero_shot_scores
from simcrop.train.features import Features
from simcrop.train.pretrained import Pretrained


def zero_shot(
    pretrained: Pretrained, store: Store, features: Features
) -> tuple[tuple[str, ...], LabelIntervals]:
    """Return label names and AUROC of findings from prompts alone, for the volumes given."""
    names, scores, labels = zero_shot_scores_of(pretrained, store, features)
    return names, auroc_intervals(scores, labels, features.index["patient_id"].tolist())


def zero_shot_scores_of(
    pretrained: Pretrained, store: Store, features: Features
) -> tuple[tuple[str, ...], Float[np.ndarray, "volumes labels"], Int[np.ndarray, "volumes labels"]]:
    """Return label names, each volume's score of each finding from prompts alone, and the truth.

    Only labels that have prompts are scored; nothing is fitted.
    """
    table = store.need_labels()
    names = tuple(name for name in table.columns if name in PROMPTS)
    patches = features.need_patches()
    columns = [_score(pretrained, patches, features.is_body, PROMPTS[name]) for name in names]
    labels = table.loc[features.index["study_id"], list(names)].to_numpy(dtype=np.int64)
    return names, np.stack(columns, axis=1), labels


def _score(
    pretrained: Pretrained,
    patches: Float[np.ndarray, "volumes patches shared"],
    is_body: Bool[np.ndarray, "volumes patches"],
    prompts: Prompts,
) -> Float[np.ndarray, " volumes"]:
    """Return how much better each volume answers the positive than the negative prompts."""
    positive, negative = (
        np.einsum("vpe,se->vsp", patches, pretrained.embed_sentences([*sentences]))
        for sentences in (prompts.positive, prompts.negative)
    )
    return zero_shot_scores(positive, negative, is_body, pretrained.config.alignment.top_k)
