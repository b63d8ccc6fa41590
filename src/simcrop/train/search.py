"""Search an index of volumes by sentences: the nearest studies, and the place in each.

Search is exact: every volume is scored, by a matrix product of patches and sentences; patches are
read from disk as they are needed. `top-k` averages the K most similar body patches of a volume, as
pre-training selects them; `global` compares one vector per volume and reads the patches of the best
only, to say where.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from simcrop.evaluate.tables import Table
from simcrop.evaluate.zero_shot import pool_top_k
from simcrop.geometry import VoxelGrid
from simcrop.train.features import Progress
from simcrop.train.pretrained import Pretrained
from simcrop.train.search_index import SearchIndex, check_index
from simcrop.train.shared_space import GLOBAL, TOP_K, embed_texts, global_texts


@dataclass(frozen=True)
class Found:
    """A study that answers a query, and where.

    Attributes:
        row: of the index.
        score: of the volume; a mean cosine.
        mm: centre of the best patch, RAS+.
        slice: axial slice there, counted from 0 in the file's own order, and their number; None
            where the index does not know the file's grid.
    """

    query: str
    rank: int
    row: int
    volume_id: str
    study_id: str
    score: float
    mm: tuple[float, float, float]
    slice: tuple[int, int] | None


def search(
    index: SearchIndex,
    pretrained: Pretrained,
    queries: list[str],
    *,
    by: str = TOP_K,
    top_k: int | None = None,
    limit: int = 10,
    on_progress: Progress = lambda done, total, what: None,
) -> list[Found]:
    """Return the best studies of every query, each by its best volume.

    Args:
        index: what to search.
        pretrained: the checkpoint that made it; embeds the queries.
        queries: sentences.
        by: `top-k` or `global`.
        top_k: patches that make a volume's score; the checkpoint's own unless given.
        limit: studies per query.
        on_progress: called with (done, total, what).

    Raises:
        DataError: if the checkpoint is another one.
    """
    check_index(index, pretrained)
    vectors = embed_texts(pretrained, queries)
    sentences = np.stack([vectors[query] for query in queries])
    if by == GLOBAL:
        whole = global_texts(pretrained, [(query,) for query in queries], vectors)
        scores = index.global_embeddings @ whole.T
    else:
        scores = _pooled(index, sentences, top_k or int(index.description["top_k"]), on_progress)
    found = []
    for number, query in enumerate(queries):
        rows = _best_of_each_study(index.table, scores[:, number], limit)
        found += [
            _describe(index, query, rank, row, float(scores[row, number]), sentences[number])
            for rank, row in enumerate(rows, start=1)
        ]
    return found


def results_table(found: list[Found]) -> Table:
    """Return the finds as a table, in the order of the queries."""
    header = ("query", "rank", "study", "volume", "score", "x, y, z mm (RAS+)", "axial slice")
    rows = tuple(
        (
            one.query,
            str(one.rank),
            one.study_id or "-",
            one.volume_id,
            f"{one.score:.3f}",
            ", ".join(f"{value:.0f}" for value in one.mm),
            "-" if one.slice is None else f"{one.slice[0]} of {one.slice[1]}",
        )
        for one in found
    )
    return Table(header, rows)


def _pooled(
    index: SearchIndex,
    sentences: Float[np.ndarray, "queries shared"],
    top_k: int,
    on_progress: Progress,
) -> Float[np.ndarray, "volumes queries"]:
    """Return the score of every volume; its patches are in memory one volume at a time."""
    V = len(index.table)
    scores = np.empty((V, len(sentences)), dtype=np.float32)
    for row in range(V):
        similarity = sentences @ index.patch_embeddings[row].astype(np.float32).T
        scores[row] = pool_top_k(similarity, np.asarray(index.is_body[row])[None], top_k)
        if row % 64 == 63 or row == V - 1:
            on_progress(row + 1, V, "search volumes")
    return scores


def _best_of_each_study(
    table: pd.DataFrame, scores: Float[np.ndarray, " volumes"], limit: int
) -> list[int]:
    """Return the rows of the best studies, each by its best volume; ties go to the first row.

    A volume without a study, embedded from a file, stands for itself.
    """
    rows: dict[str, int] = {}
    studies, volumes = table["study_id"].tolist(), table["volume_id"].tolist()
    for row in np.argsort(-scores, kind="stable").tolist():
        rows.setdefault(studies[row] or volumes[row], row)
        if len(rows) == limit:
            break
    return list(rows.values())


def _describe(
    index: SearchIndex, query: str, rank: int, row: int, score: float, sentence: np.ndarray
) -> Found:
    """Return a find with the place of its best body patch."""
    similarity = index.patch_embeddings[row].astype(np.float32) @ sentence
    best = int(np.where(index.is_body[row], similarity, -np.inf).argmax())
    cell = np.unravel_index(best, index.description["grid"])
    x, y, z = (index.affines[row] @ (*cell, 1.0))[:3].tolist()
    entry = index.table.iloc[row]
    grid = entry.get("native_grid", "")
    return Found(
        query, rank, row, entry["volume_id"], entry["study_id"], score, (x, y, z),
        axial_slice(VoxelGrid.from_json(grid), (x, y, z)) if grid else None,
    )  # fmt: skip


def axial_slice(grid: VoxelGrid, mm: tuple[float, float, float]) -> tuple[int, int]:
    """Return the slice of a file that holds a place, from 0 in the file's order, and their number.

    The slices are those along the axis that runs most along the body; a place beyond the file's
    ends gets the nearest.
    """
    axis = next(i for i, letter in enumerate(grid.orientation) if letter in "SI")
    position = (np.linalg.inv(grid.affine) @ (*mm, 1.0))[axis]
    number = grid.shape[axis]
    return int(np.clip(round(float(position)), 0, number - 1)), number
