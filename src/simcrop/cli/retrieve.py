"""`simcrop retrieve`: do volumes and reports find each other?"""

from pathlib import Path
from typing import Annotated

import typer

from simcrop.cli.options import (
    Cache,
    Checkpoint,
    Device,
    Output,
    Split,
    StoreFolder,
    TextEncoderPath,
    one_of,
)
from simcrop.cli.progress import progress


def retrieve(
    checkpoint: Checkpoint,
    store: StoreFolder,
    output: Output,
    part: Annotated[
        str, typer.Option(callback=one_of("train", "val", "test"), help="train, val or test.")
    ] = "test",
    pool: Annotated[
        list[Path] | None,
        typer.Option(help="File of study ids, one a line: a pool by the file's name; repeatable."),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(min=1, help="Patches pooled per sentence; the checkpoint's own if not given."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the intervals.")] = 0,
    split: Split = "clean",
    text_encoder: TextEncoderPath = None,
    cache: Cache = None,
    device: Device = "cpu",
) -> None:
    """Find volumes by reports and reports by volumes, whole and by sentence; R@k in named pools."""
    from simcrop.data.store import Store
    from simcrop.evaluate.results import write_result
    from simcrop.evaluate.retrieval import retrieval_table
    from simcrop.train.pretrained import load
    from simcrop.train.retrieval import read_pool, retrieve
    from simcrop.train.retrieval_result import by_pool_and_score, retrieval_result
    from simcrop.view.result_page import write_result_page

    own_pools = {path.stem: read_pool(path) for path in pool or []}
    opened = Store(store, split, cache=cache)
    pretrained = load(checkpoint, text_encoder=text_encoder, device=device)
    with progress() as update:
        pools = retrieve(
            pretrained, opened, part=part, own_pools=own_pools, top_k=top_k, seed=seed,
            on_progress=update,
        )  # fmt: skip
    result = retrieval_result(
        pools,
        contract_hash=opened.contract.hash,
        seed=seed,
        settings={
            "part": part,
            "split": opened.split_name,
            "top_k": top_k or pretrained.config.alignment.top_k,
        },
    )
    path = write_result(result, output)
    report = write_result_page(result, output, title="Volumes and reports that find each other")
    typer.echo(retrieval_table(by_pool_and_score(pools)).plain(), err=True)
    print(path, report, sep="\n")
