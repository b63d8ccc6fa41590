"""The result folder of retrieval: what `simcrop retrieve` leaves."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from simcrop.evaluate.items import Items
from simcrop.evaluate.results import Drawing, NamedSet, Result
from simcrop.evaluate.retrieval import Recall, retrieval_table
from simcrop.evaluate.retrieval_figure import recall_figure
from simcrop.evaluate.tables import Table
from simcrop.train.checkpoint import versions
from simcrop.train.retrieval import PoolResult


def by_pool_and_score(pools: Mapping[str, PoolResult]) -> dict[str, tuple[Recall, ...]]:
    """Return the figures of all pools in the order of the table."""
    return {
        f"{name}, {score}": recalls
        for name, pool in pools.items()
        for score, recalls in pool.recalls.items()
    }


def retrieval_result(
    pools: Mapping[str, PoolResult],
    *,
    contract_hash: str,
    seed: int,
    settings: Mapping[str, Any],
) -> Result:
    """Return the result folder's content.

    Args:
        pools: their figures.
        contract_hash: of the store.
        seed: of the resamples.
        settings: what was asked for.
    """
    figures = {
        name: {
            "num_duplicates": pool.num_duplicates,
            **{
                score: [one.to_dict() for one in recalls] for score, recalls in pool.recalls.items()
            },
        }
        for name, pool in pools.items()
    }
    return Result(
        command="retrieve",
        figures=figures,
        sets={name: NamedSet.of(pool.volume_ids) for name, pool in pools.items()},
        contract_hash=contract_hash,
        seeds=(seed,),
        versions=versions(),
        settings=settings,
        items=_items(pools["studies"]),
        tables={
            "Recall at k and median rank, chance in brackets. Any candidate that says the same is "
            "a hit, ties count half; `ambiguous` is the number of queries with several. Intervals "
            "draw the patients of the queries, the pool stays.": retrieval_table(
                by_pool_and_score(pools)
            ),
            "Pools. Figures of different pools cannot be compared.": _pools_table(pools),
        },
        drawings={
            "recall": Drawing(
                recall_figure(pools["studies"].recalls),
                "Recall at k in the pool `studies`, with 95 % intervals over patients.",
            )
        },
    )


def _pools_table(pools: Mapping[str, PoolResult]) -> Table:
    rows = tuple(
        (name, str(one.size), str(pools[name].num_duplicates), one.hash)
        for name in pools
        if (one := NamedSet.of(pools[name].volume_ids))
    )
    return Table(("pool", "volumes", "with a twin report", "hash"), rows)


def _items(pool: PoolResult) -> tuple[Items, ...]:
    """Return for `simcrop compare` whether each study is found among ten, both ways, by score."""
    return tuple(
        Items(
            score, "recall at 10", pool.volume_ids, pool.patient_ids,
            tuple(f"{one.query} to {one.candidate}" for one in recalls[:2]),
            np.stack([(one.ranks <= 10).astype(float) for one in recalls[:2]], axis=1),
        )
        for score, recalls in pool.recalls.items()
    )  # fmt: skip
