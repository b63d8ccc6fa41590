"""Findings of a store's volumes from sentences alone: nothing is fitted to labels.

A volume is scored by how much better it answers the sentences that state a finding than those that
deny it. `top-k` pools each sentence over its K most similar patches, as pre-training selects them;
`global` compares whole volumes with whole sentences. Validation volumes choose the thresholds and
temperatures of the scorecard, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from simcrop.data.label_names import RAD_CHEST_CT_FROM_CT_RATE
from simcrop.data.store import Store
from simcrop.errors import DataError, complain
from simcrop.evaluate.intervals import LabelIntervals, auroc_intervals
from simcrop.evaluate.prompts import PROMPTS, Prompts
from simcrop.evaluate.scorecard import Scorecard, operating_points, score
from simcrop.evaluate.zero_shot import pair_probability, pool_top_k
from simcrop.train.features import Features, Progress, embed_in_parts
from simcrop.train.pretrained import Pretrained
from simcrop.train.shared_space import (
    GLOBAL,
    TOP_K,
    embed_texts,
    global_texts,
    global_volumes,
    poolings_of,
)

Probabilities = Float[np.ndarray, "volumes labels"]


@dataclass(frozen=True, eq=False)
class ZeroShotResult:
    """Scorecards of one part of a store, by the way in which sentences were pooled.

    Attributes:
        part: the part that is reported.
        scorecards: by pooling.
        scores: probability of each label for each volume, by pooling.
        labels: 0 or 1.
        label_names: those that have prompts, in the order of the store.
        without_prompts: the labels that have none and are not scored.
    """

    part: str
    scorecards: Mapping[str, Scorecard]
    scores: Mapping[str, Probabilities]
    labels: Int[np.ndarray, "volumes labels"]
    label_names: tuple[str, ...]
    without_prompts: tuple[str, ...]
    volume_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]

    @property
    def own_pooling(self) -> str:
        """The checkpoint's own way of pooling, which is drawn."""
        return next(iter(self.scores))


def zero_shot(
    pretrained: Pretrained,
    store: Store,
    features: Features,
    prompts: Mapping[str, Prompts] = PROMPTS,
) -> tuple[tuple[str, ...], LabelIntervals]:
    """Return label names and AUROC of findings from prompts alone, for the volumes given."""
    names, scores, labels = zero_shot_scores_of(pretrained, store, features, prompts)
    return names, auroc_intervals(scores, labels, features.index["patient_id"].tolist())


def zero_shot_scores_of(
    pretrained: Pretrained,
    store: Store,
    features: Features,
    prompts: Mapping[str, Prompts] = PROMPTS,
) -> tuple[tuple[str, ...], Probabilities, Int[np.ndarray, "volumes labels"]]:
    """Return label names, each volume's score of each finding from prompts alone, and the truth.

    Only labels that have prompts are scored, pooled in the checkpoint's own way.
    """
    sources = prompts_of_labels(store, prompts)
    k = pretrained.config.alignment.top_k
    pooling = poolings_of(pretrained)[0]
    scores = score_findings(pretrained, features, sources, pooling=pooling, top_k=k)
    return tuple(sources), scores, _labels(store, features, tuple(sources))


def evaluate_zero_shot(
    pretrained: Pretrained,
    store: Store,
    *,
    prompts: Mapping[str, Prompts] = PROMPTS,
    part: str = "test",
    top_k: int | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
    on_progress: Progress = lambda done, total, what: None,
) -> ZeroShotResult:
    """Score every label that has prompts, by every pooling that the checkpoint has.

    Args:
        pretrained: a checkpoint trained with the alignment or the contrast of wholes.
        store: with labels.
        prompts: sentences for and against, by label.
        part: `val` or `test`; `val` chooses the thresholds in either case.
        top_k: patches pooled per sentence; the checkpoint's own unless given.
        num_resamples: of the patients.
        seed: draws them.
        on_progress: called with (done, total, what).

    Raises:
        DataError: if the store has no labels, none of them has prompts, or the part no volume
            with labels.
    """
    sources = prompts_of_labels(store, prompts)
    table = store.need_labels()
    labelled = {v for v in store.volume_ids() if store.study_of(v) in table.index}
    splits = tuple(dict.fromkeys(("val", part)))
    if not labelled & set(store.volume_ids(part)):
        raise DataError(
            complain(
                f"{store.location} has no labelled volume in its {part} part",
                "at least one",
                "Prepare more patients, or give reports.csv a `split` column.",
            )
        )
    k = top_k or pretrained.config.alignment.top_k
    names = tuple(sources)
    index, labels, scores = _score_in_parts(
        pretrained, store, sources, splits, labelled, k, on_progress
    )
    is_val, is_reported = (index["split"].to_numpy() == split for split in ("val", part))
    patients = index["patient_id"][is_reported].tolist()
    scorecards = {
        pooling: score(
            values[is_reported],
            labels[is_reported],
            patients,
            names,
            operating_points(values[is_val], labels[is_val]),
            num_resamples=num_resamples,
            seed=seed,
        )
        for pooling, values in scores.items()
    }
    return ZeroShotResult(
        part=part,
        scorecards=scorecards,
        scores={pooling: values[is_reported] for pooling, values in scores.items()},
        labels=labels[is_reported],
        label_names=names,
        without_prompts=tuple(name for name in table.columns if name not in sources),
        volume_ids=tuple(index["volume_id"][is_reported]),
        patient_ids=tuple(patients),
    )


def _score_in_parts(
    pretrained: Pretrained,
    store: Store,
    sources: Mapping[str, tuple[Prompts, ...]],
    splits: tuple[str, ...],
    volumes: set[str],
    top_k: int,
    on_progress: Progress,
) -> tuple[pd.DataFrame, Int[np.ndarray, "volumes labels"], dict[str, Probabilities]]:
    """Return the rows, labels and probabilities by pooling of volumes, few in memory at a time."""
    indices, labels = [], []
    scores: dict[str, list[Probabilities]] = {name: [] for name in poolings_of(pretrained)}
    for some in embed_in_parts(pretrained, store, splits, volumes, on_progress=on_progress):
        indices.append(some.index)
        labels.append(_labels(store, some, tuple(sources)))
        for pooling, values in scores.items():
            values.append(score_findings(pretrained, some, sources, pooling=pooling, top_k=top_k))
    joined = {pooling: np.concatenate(values) for pooling, values in scores.items()}
    return pd.concat(indices, ignore_index=True), np.concatenate(labels), joined


def prompts_of_labels(
    store: Store, prompts: Mapping[str, Prompts]
) -> dict[str, tuple[Prompts, ...]]:
    """Return for each label of a store that can be scored the prompts that speak of it.

    A label of RadChestCT that several labels of CT-RATE make ("Calcification": of the arterial wall
    or of the coronary arteries) has several, and its score is the largest of theirs.

    Raises:
        DataError: if the store has no labels, or no label has prompts.
    """
    names = store.need_labels().columns
    parts = {name: (name,) for name in names} | {
        name: RAD_CHEST_CT_FROM_CT_RATE[name]
        for name in names
        if name not in prompts and name in RAD_CHEST_CT_FROM_CT_RATE
    }
    found = {
        name: tuple(prompts[part] for part in parts[name])
        for name in names
        if all(part in prompts for part in parts[name])
    }
    if not found:
        raise DataError(
            complain(
                f"no label of {store.location} has prompts: {', '.join(names)}",
                f"some of {', '.join(prompts)}",
                "Write a file of prompts for these labels and give it by --prompts.",
            )
        )
    return found


def score_findings(
    pretrained: Pretrained,
    features: Features,
    sources: Mapping[str, tuple[Prompts, ...]],
    *,
    pooling: str,
    top_k: int,
) -> Probabilities:
    """Return the probability of each label for each volume, by its prompts' pooled similarity."""
    every = [prompts for of_label in sources.values() for prompts in of_label]
    texts = sorted({text for one in every for text in (*one.positive, *one.negative)})
    has_whole_texts = pooling == GLOBAL and pretrained.simcrop.terms.instance_contrast
    vectors = {} if has_whole_texts else embed_texts(pretrained, texts)
    number_of = {text: i for i, text in enumerate(texts)}
    if pooling == TOP_K:
        matrix = np.stack([vectors[text] for text in texts])
        answers = _pooled_answers(features, matrix, top_k)
    else:
        whole = global_texts(pretrained, [(text,) for text in texts], vectors)
        answers = global_volumes(pretrained, features) @ whole.T

    def mean(sentences: tuple[str, ...]) -> Float[np.ndarray, " volumes"]:
        return answers[:, [number_of[text] for text in sentences]].mean(axis=1)

    temperature = pretrained.config.alignment.temperature
    columns = [
        np.max(
            [pair_probability(mean(p.positive), mean(p.negative), temperature) for p in of_label],
            axis=0,
        )
        for of_label in sources.values()
    ]
    return np.stack(columns, axis=1)


def _pooled_answers(
    features: Features, sentences: Float[np.ndarray, "sentences shared"], top_k: int
) -> Float[np.ndarray, "volumes sentences"]:
    """Return every sentence's score of every volume; one volume at a time is in full precision."""
    rows = zip(features.stored_patches(), features.is_body, strict=True)
    return np.stack(
        [
            pool_top_k(sentences @ patches.astype(np.float32).T, is_body[None], top_k)
            for patches, is_body in rows
        ]
    )


def _labels(
    store: Store, features: Features, names: tuple[str, ...]
) -> Int[np.ndarray, "volumes labels"]:
    return store.need_labels().loc[features.index["study_id"], list(names)].to_numpy(dtype=np.int64)
