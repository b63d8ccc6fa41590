"""Which report belongs to which volume? Ranks in a named pool, both ways, duplicates as hits.

A query's rank is that of its best match: one more than the number of wrong candidates that score
above it, ties counting half, so that a constant score ranks in the middle and hits nothing. Where
several candidates match (reports with the same words, a sentence that many reports contain) any of
them is a hit: nothing in the query tells them apart. How often that happens, and what a random
order would reach, is reported beside the figures; compare figures of one pool only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.special import gammaln

from simcrop.evaluate.intervals import Interval, means_intervals, resample_patients, summarise
from simcrop.evaluate.levels import Support
from simcrop.evaluate.tables import Table, format_interval

DEPTHS = (1, 5, 10, 50)


@dataclass(frozen=True)
class Recall:
    """How well queries find what belongs to them in one pool.

    Attributes:
        query, candidate: what is asked with and what is found, `report`, `volume` or `sentence`.
        recall: share of queries whose rank is at most k, by k.
        chance: the same for a random order of the candidates.
        median_rank: of the queries.
        num_ambiguous: queries with more than one match, of which any counts.
        num_unanswerable: queries left out because the pool holds no match.
        ranks: of all queries in their order; nan where unanswerable.
    """

    query: str
    candidate: str
    num_queries: int
    num_candidates: int
    num_ambiguous: int
    num_unanswerable: int
    recall: Mapping[int, Interval]
    chance: Mapping[int, float]
    median_rank: Interval
    ranks: Float[np.ndarray, " queries"] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        counts = ("query", "candidate", "num_queries", "num_candidates", "num_ambiguous",
                  "num_unanswerable")  # fmt: skip
        return {name: getattr(self, name) for name in counts} | {
            "recall": {str(k): interval.to_dict() for k, interval in self.recall.items()},
            "chance": {str(k): value for k, value in self.chance.items()},
            "median_rank": self.median_rank.to_dict(),
        }


def ranks(
    scores: Float[np.ndarray, "queries candidates"],
    is_match: Bool[np.ndarray, "queries candidates"],
) -> Float[np.ndarray, " queries"]:
    """Return the rank of each query's best match, from 1; nan without a match.

    Raises:
        ValueError: if a score is not finite.
    """
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} of {scores.size} scores are not finite")
    best = np.where(is_match, scores, -np.inf).max(axis=1, keepdims=True)
    num_above = ((scores > best) & ~is_match).sum(axis=1)
    num_tied = ((scores == best) & ~is_match).sum(axis=1)
    return np.where(is_match.any(axis=1), 1 + num_above + num_tied / 2, np.nan)


def chance_recall(
    num_matches: Shaped[np.ndarray, " queries"], num_candidates: int, depth: int
) -> float:
    """Return the recall at a depth of a random order: one minus the chance to miss all matches."""
    n, k = num_candidates, min(depth, num_candidates)
    others = n - num_matches
    missed = np.where(
        others >= k,
        np.exp(
            gammaln(others + 1) - gammaln(np.maximum(others - k, 0) + 1)
            - gammaln(n + 1) + gammaln(n - k + 1)
        ),
        0.0,
    )  # fmt: skip
    return float(1 - missed.mean())


def evaluate_retrieval(
    scores: Float[np.ndarray, "queries candidates"],
    is_match: Bool[np.ndarray, "queries candidates"],
    patient_ids: Sequence[str],
    *,
    query: str,
    candidate: str,
    num_resamples: int = 1000,
    seed: int = 0,
) -> Recall:
    """Return recall and median rank with intervals over the patients of the queries.

    The pool of candidates stays whole in every resample.

    Raises:
        ValueError: if a score is not finite or no query has a match.
    """
    every_rank = ranks(scores, is_match)
    kept = ~np.isnan(every_rank)
    if not kept.any():
        raise ValueError(f"none of {len(kept)} queries has a match among {is_match.shape[1]}")
    rank, num_matches = every_rank[kept], is_match.sum(axis=1)[kept]
    patients = [patient for patient, is_kept in zip(patient_ids, kept, strict=True) if is_kept]
    everything = np.zeros(len(rank), dtype=np.int64)
    hits = {k: (rank <= k).astype(float) for k in DEPTHS}
    recall = means_intervals(hits, everything, 1, patients, num_resamples=num_resamples, seed=seed)
    weights = resample_patients(patients, num_resamples=num_resamples, seed=seed)
    weights = np.vstack([np.ones(len(rank)), weights])
    medians = weighted_median(rank, weights)
    support = Support.of_values(np.ones((len(rank), 1), dtype=bool), patients)
    median = summarise(medians[:1], medians[1:, None], support).per_label[0]
    return Recall(
        query=query,
        candidate=candidate,
        num_queries=len(rank),
        num_candidates=scores.shape[1],
        num_ambiguous=int((num_matches > 1).sum()),
        num_unanswerable=int((~kept).sum()),
        recall={k: interval.per_label[0] for k, interval in recall.items()},
        chance={k: chance_recall(num_matches, scores.shape[1], k) for k in DEPTHS},
        median_rank=median,
        ranks=every_rank,
    )


def weighted_median(
    values: Float[np.ndarray, " items"], weights: Float[np.ndarray, "resamples items"]
) -> Float[np.ndarray, " resamples"]:
    """Return the median of values repeated as often as each row of whole weights says."""
    order = np.argsort(values, kind="stable")
    ordered, reached = values[order], np.cumsum(weights[:, order], axis=1)
    total = reached[:, -1]
    lower = (reached < np.ceil(total / 2)[:, None]).sum(axis=1)
    upper = (reached < (np.floor(total / 2) + 1)[:, None]).sum(axis=1)
    return (ordered[lower] + ordered[upper]) / 2


def retrieval_table(results: Mapping[str, Sequence[Recall]]) -> Table:
    """Return one row per pool, score and task: recall beside chance, median rank, duplicates."""
    header = ("pool and score", "query to candidate", "queries", "candidates", "ambiguous",
              *(f"R@{k} (chance)" for k in DEPTHS), "median rank")  # fmt: skip
    rows = [
        (
            name,
            f"{one.query} to {one.candidate}",
            str(one.num_queries),
            str(one.num_candidates),
            str(one.num_ambiguous),
            *(f"{format_interval(one.recall[k])} ({one.chance[k]:.3f})" for k in DEPTHS),
            format_interval(one.median_rank, digits=1),
        )
        for name, recalls in results.items()
        for one in recalls
    ]
    return Table(header, tuple(rows))
