"""Volumes and reports of a store that find each other, as wholes and sentence by sentence.

Two scores of a volume and a report. `top-k`, where there is an alignment: each sentence is pooled
over its K most similar patches, as pre-training selects them, and averaged over the report's
sentences. `global`: one vector of the volume and one of the report; see
`simcrop.train.shared_space`.

Pools have names, because figures of different pools cannot be compared: `volumes` has all volumes
of the part, `studies` the first of each study, `distinct` the first study of each report text where
some say the same, and a list of a user's own has the name of its file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from simcrop.data.store import Store
from simcrop.errors import DataError, complain
from simcrop.evaluate.retrieval import Recall, evaluate_retrieval
from simcrop.evaluate.zero_shot import pool_top_k
from simcrop.report.sentences import sentence_key, split_sentences
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

Matrix = Float[np.ndarray, "volumes texts"]


@dataclass(frozen=True, eq=False)
class PoolResult:
    """The figures of one pool.

    Attributes:
        volume_ids, patient_ids: its volumes; `hash_of` the first names the pool.
        num_duplicates: volumes whose report says the same as that of another study in the pool.
        recalls: of the four tasks, by score.
    """

    volume_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    num_duplicates: int
    recalls: Mapping[str, tuple[Recall, ...]]


@dataclass(frozen=True, eq=False)
class Texts:
    """The reports of volumes as sentences, and which of them say the same.

    Attributes:
        sentences: of each volume's findings.
        keys: of each sentence, equal where case, spaces and final punctuation alone differ.
    """

    sentences: tuple[tuple[str, ...], ...]
    keys: tuple[tuple[int, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        keys = tuple(tuple(map(sentence_key, report)) for report in self.sentences)
        object.__setattr__(self, "keys", keys)

    def of(self, rows: Sequence[int]) -> "Texts":
        """Return some of the reports."""
        return Texts(tuple(self.sentences[row] for row in rows))


def retrieve(
    pretrained: Pretrained,
    store: Store,
    *,
    part: str = "test",
    own_pools: Mapping[str, Sequence[str]] | None = None,
    top_k: int | None = None,
    num_resamples: int = 1000,
    seed: int = 0,
    on_progress: Progress = lambda done, total, what: None,
) -> dict[str, PoolResult]:
    """Return the figures of every pool, the four tasks by every score that the checkpoint has.

    Args:
        pretrained: a checkpoint trained with the alignment or the contrast of wholes.
        store: with reports.
        part: `train`, `val` or `test`.
        own_pools: study ids by name, further pools.
        top_k: patches pooled per sentence; the checkpoint's own unless given.
        num_resamples: of the patients of the queries.
        seed: draws them.
        on_progress: called with (done, total, what).

    Raises:
        DataError: if the part has fewer than two studies with findings, or a pool none of them.
    """
    reports = {v: _sentences(store, v) for v in store.volume_ids(part)}
    with_text = {volume for volume, sentences in reports.items() if sentences}
    if len({store.study_of(volume) for volume in with_text}) < 2:
        raise DataError(
            complain(
                f"{store.location} has {len(with_text)} volumes with findings in its {part} part",
                "at least two studies",
                "Choose another --part, or prepare more studies.",
            )
        )
    scores = _Scores(pretrained, reports, top_k or pretrained.config.alignment.top_k)
    parts = embed_in_parts(pretrained, store, (part,), with_text, on_progress=on_progress)
    index = pd.concat([scores.add(some) for some in parts], ignore_index=True)
    texts = Texts(tuple(reports[volume] for volume in index["volume_id"]))
    return {
        name: _evaluate(scores, index, texts, rows, num_resamples, seed)
        for name, rows in _pools(index, texts, own_pools or {}).items()
    }


class _Scores:
    """Scores of every volume with every distinct sentence and with every report."""

    def __init__(
        self, pretrained: Pretrained, reports: Mapping[str, tuple[str, ...]], top_k: int
    ) -> None:
        """Embed all sentences and reports once."""
        self._pretrained, self._top_k = pretrained, top_k
        self._texts = {volume: Texts((report,)) for volume, report in reports.items() if report}
        said = {key: sentence for text in self._texts.values()
                for key, sentence in zip(text.keys[0], text.sentences[0], strict=True)}  # fmt: skip
        self._column = {key: i for i, key in enumerate(said)}
        self._said = said
        self.poolings = poolings_of(pretrained)
        has_top_k = TOP_K in self.poolings
        self._vectors = embed_texts(pretrained, said.values()) if has_top_k else {}
        singles = [(text,) for text in said.values()]
        self._whole_sentences = global_texts(pretrained, singles, self._vectors)
        self._pooled: list[Matrix] = []
        self._whole: list[Matrix] = []
        self._volumes: list[str] = []

    def add(self, some: Features) -> pd.DataFrame:
        """Score some volumes with all sentences and return their rows."""
        if TOP_K in self.poolings:
            for patches, is_body in zip(some.stored_patches(), some.is_body, strict=True):
                similarity = self._matrix @ patches.astype(np.float32).T
                self._pooled.append(pool_top_k(similarity, is_body[None], self._top_k)[None])
        self._whole.append(global_volumes(self._pretrained, some))
        self._volumes += some.index["volume_id"].tolist()
        return some.index

    @cached_property
    def _matrix(self) -> Float[np.ndarray, "sentences shared"]:
        return np.stack([self._vectors[text] for text in self._said.values()])

    @cached_property
    def sentences(self) -> dict[str, Matrix]:
        """Scores of volumes with distinct sentences, by the way of pooling."""
        whole = np.concatenate(self._whole) @ self._whole_sentences.T
        pooled = {TOP_K: np.concatenate(self._pooled)} if self._pooled else {}
        return pooled | {GLOBAL: whole}

    @cached_property
    def reports(self) -> dict[str, Matrix]:
        """Scores of volumes with the reports of volumes, in the same order."""
        keys = [self._texts[volume].keys[0] for volume in self._volumes]
        shares = np.stack([self._shares(of_report) for of_report in keys])
        texts = [[self._said[key] for key in of_report] for of_report in keys]
        whole = global_texts(self._pretrained, texts, self._vectors)
        pooled = {TOP_K: self.sentences[TOP_K] @ shares.T} if self._pooled else {}
        return pooled | {GLOBAL: np.concatenate(self._whole) @ whole.T}

    def _shares(self, keys: Sequence[int]) -> Float[np.ndarray, " sentences"]:
        """Return the weight of each distinct sentence in a report: their mean."""
        counts = np.bincount([self._column[k] for k in keys], minlength=len(self._column))
        return (counts / len(keys)).astype(np.float32)

    def columns(self, keys: Iterable[int]) -> list[int]:
        """Return the columns of sentences."""
        return [self._column[key] for key in keys]


def _evaluate(
    scores: _Scores,
    table: pd.DataFrame,
    texts: Texts,
    rows: Sequence[int],
    num_resamples: int,
    seed: int,
) -> PoolResult:
    """Return the four tasks in one pool of volumes."""
    index = table.iloc[list(rows)]
    studies, patients = index["study_id"].tolist(), index["patient_id"].tolist()
    here = texts.of(rows)
    report_of = [tuple(sorted(keys)) for keys in here.keys]
    says_same = _equal(report_of)
    distinct = list(dict.fromkeys(key for keys in here.keys for key in keys))
    columns = scores.columns(distinct)
    contains = np.array([np.isin(distinct, keys) for keys in here.keys])
    # a sentence that stands in a report is a query of its own, whoever else says it
    asked = [(row, i) for row, own in enumerate(contains) for i in np.flatnonzero(own)]
    first = [studies.index(study) for study in dict.fromkeys(studies)]
    asked = [(row, i) for row, i in asked if row in set(first)]

    def recalls(name: str) -> tuple[Recall, ...]:
        whole = scores.reports[name][np.ix_(rows, rows)]
        single = scores.sentences[name][np.ix_(rows, columns)]
        tasks = (
            ("report", "volume", whole.T[first], says_same[first], [patients[i] for i in first]),
            ("volume", "report", whole[:, first], says_same[:, first], patients),
            ("sentence", "volume", single.T[[i for _, i in asked]],
             contains.T[[i for _, i in asked]], [patients[row] for row, _ in asked]),
            ("volume", "sentence", single, contains, patients),
        )  # fmt: skip
        return tuple(
            evaluate_retrieval(
                values, is_match, of_queries, query=query, candidate=candidate,
                num_resamples=num_resamples, seed=seed,
            )
            for query, candidate, values, is_match, of_queries in tasks
        )  # fmt: skip

    other_study = np.array(studies)[:, None] != np.array(studies)
    return PoolResult(
        volume_ids=tuple(index["volume_id"]),
        patient_ids=tuple(patients),
        num_duplicates=int((says_same & other_study).any(axis=1).sum()),
        recalls={name: recalls(name) for name in scores.poolings},
    )


def _pools(
    index: pd.DataFrame, texts: Texts, own: Mapping[str, Sequence[str]]
) -> dict[str, list[int]]:
    """Return the rows of every pool.

    Raises:
        DataError: if a pool of the user's own has fewer than two studies that are there.
    """
    studies = index["study_id"].tolist()
    first = [studies.index(study) for study in dict.fromkeys(studies)]
    report_of = [tuple(sorted(keys)) for keys in texts.keys]
    distinct = {report_of[row]: row for row in reversed(first)}
    pools = {"studies": first}
    if len(distinct) < len(first):
        pools["distinct"] = sorted(distinct.values())
    if len(first) < len(studies):
        pools["volumes"] = list(range(len(studies)))
    for name, wanted in own.items():
        pools[name] = [row for row in first if studies[row] in set(wanted)]
        if len(pools[name]) < 2:
            raise DataError(
                complain(
                    f"pool {name}: {len(pools[name])} of {len(wanted)} studies are in this part",
                    "at least two",
                    "Check the ids, one study a line, and --part.",
                )
            )
    return pools


def read_pool(path: Path) -> list[str]:
    """Return the study ids of a file, one a line.

    Raises:
        DataError: if there are none.
    """
    try:
        ids = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            complain(f"{path} cannot be read ({error})", "study ids, one a line", "Check --pool.")
        ) from error
    return [one for one in ids if one]


def _sentences(store: Store, volume: str) -> tuple[str, ...]:
    """Return the sentences of the findings of a volume's study that have words."""
    report = store.report(store.study_of(volume))
    sentences = report.sentences or split_sentences(report.findings)
    return tuple(s for s in sentences if any(letter.isalpha() for letter in s))


def _equal(values: Sequence[tuple[int, ...]]) -> Bool[np.ndarray, "volumes volumes"]:
    numbers = {value: i for i, value in enumerate(dict.fromkeys(values))}
    number = np.array([numbers[value] for value in values])
    return number[:, None] == number
