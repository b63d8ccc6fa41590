"""Volumes and reports of a store that find each other, as wholes and sentence by sentence.

Two scores of a volume and a report. `top-k`: each sentence is pooled over its K most similar
patches, as pre-training selects them, and averaged over the report's sentences. `global`: one
vector of the volume and one of the report; see `simcrop.train.shared_space`.

Pools have names, because figures of different pools cannot be compared: `volumes` has all volumes
of the part, `studies` the first of each study, `distinct` the first study of each report text, and
a list of a user's own has the name of its file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from simcrop.data.store import Store
from simcrop.errors import DataError, complain
from simcrop.evaluate.retrieval import Recall, evaluate_retrieval
from simcrop.evaluate.zero_shot import pool_top_k
from simcrop.report.sentences import sentence_key, split_sentences
from simcrop.train.features import Features, Progress, embed_store
from simcrop.train.pretrained import Pretrained
from simcrop.train.shared_space import embed_texts, global_texts, global_volumes

TOP_K, GLOBAL = "top-k", "global"
Matrix = Float[np.ndarray, "volumes texts"]


@dataclass(frozen=True, eq=False)
class PoolResult:
    """The figures of one pool.

    Attributes:
        volume_ids: its volumes; `hash_of` them names the pool.
        num_duplicates: volumes whose report says the same as that of another study in the pool.
        recalls: of the four tasks, by score.
    """

    volume_ids: tuple[str, ...]
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
    """Return the figures of every pool, the four tasks by both scores.

    Args:
        pretrained: a checkpoint trained with the alignment.
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
    features = embed_store(
        pretrained, store, splits=(part,), only=with_text, with_patches=True,
        on_progress=on_progress,
    )  # fmt: skip
    texts = Texts(tuple(reports[volume] for volume in features.index["volume_id"]))
    k = top_k or pretrained.config.alignment.top_k
    scores = _Scores(pretrained, features, texts, k, on_progress)
    pools = _pools(features, texts, own_pools or {})
    return {
        name: _evaluate(scores, features, texts, rows, num_resamples, seed)
        for name, rows in pools.items()
    }


class _Scores:
    """Scores of every volume with every distinct sentence and with every report."""

    def __init__(
        self,
        pretrained: Pretrained,
        features: Features,
        texts: Texts,
        top_k: int,
        on_progress: Progress,
    ) -> None:
        said = {k: s for keys, report in zip(texts.keys, texts.sentences, strict=True)
                for k, s in zip(keys, report, strict=True)}  # fmt: skip
        self.keys = tuple(said)
        self._column = {key: i for i, key in enumerate(self.keys)}
        vectors = embed_texts(pretrained, said.values())
        matrix = np.stack([vectors[text] for text in said.values()])
        patches = features.stored_patches()
        pooled = []
        for row, is_body in enumerate(features.is_body):
            similarity = matrix @ patches[row].astype(np.float32).T
            pooled.append(pool_top_k(similarity, is_body[None], top_k))
            on_progress(row + 1, len(patches), "score sentences")
        whole = global_volumes(pretrained, features)
        of_reports = global_texts(
            pretrained, [[said[k] for k in keys] for keys in texts.keys], vectors
        )
        of_sentences = global_texts(pretrained, [(text,) for text in said.values()], vectors)
        self.sentences: dict[str, Matrix] = {
            TOP_K: np.stack(pooled), GLOBAL: whole @ of_sentences.T,
        }  # fmt: skip
        shares = np.stack([self._shares(keys) for keys in texts.keys])
        self.reports: dict[str, Matrix] = {
            TOP_K: self.sentences[TOP_K] @ shares.T, GLOBAL: whole @ of_reports.T,
        }  # fmt: skip

    def _shares(self, keys: Sequence[int]) -> Float[np.ndarray, " sentences"]:
        """Return the weight of each distinct sentence in a report: their mean."""
        counts = np.bincount([self._column[k] for k in keys], minlength=len(self._column))
        return (counts / len(keys)).astype(np.float32)

    def columns(self, keys: Iterable[int]) -> list[int]:
        """Return the columns of sentences."""
        return [self._column[key] for key in keys]


def _evaluate(
    scores: _Scores,
    features: Features,
    texts: Texts,
    rows: Sequence[int],
    num_resamples: int,
    seed: int,
) -> PoolResult:
    """Return the four tasks in one pool of volumes."""
    index = features.index.iloc[list(rows)]
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
        num_duplicates=int((says_same & other_study).any(axis=1).sum()),
        recalls={name: recalls(name) for name in (TOP_K, GLOBAL)},
    )


def _pools(
    features: Features, texts: Texts, own: Mapping[str, Sequence[str]]
) -> dict[str, list[int]]:
    """Return the rows of every pool.

    Raises:
        DataError: if a pool of the user's own has fewer than two studies that are there.
    """
    studies = features.index["study_id"].tolist()
    first = [studies.index(study) for study in dict.fromkeys(studies)]
    report_of = [tuple(sorted(keys)) for keys in texts.keys]
    distinct = {report_of[row]: row for row in reversed(first)}
    pools = {"studies": first, "distinct": sorted(distinct.values())}
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
