"""`simcrop zero-shot`: findings from sentences alone."""

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


def zero_shot(
    checkpoint: Checkpoint,
    store: StoreFolder,
    output: Output,
    prompts: Annotated[
        Path | None,
        typer.Option(help="YAML file of sentences for and against each label; else the packaged."),
    ] = None,
    part: Annotated[
        str, typer.Option(callback=one_of("val", "test"), help="val or test.")
    ] = "test",
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
    """Score findings by pairs of sentences for and against them; nothing is fitted to labels."""
    from simcrop.data.splits import hash_of
    from simcrop.data.store import Store
    from simcrop.evaluate.prompts import PROMPTS_FILE, read_prompts
    from simcrop.evaluate.results import write_result
    from simcrop.evaluate.tables import scorecard_table
    from simcrop.train.pretrained import load
    from simcrop.train.zero_shot import evaluate_zero_shot
    from simcrop.train.zero_shot_result import zero_shot_result
    from simcrop.view.result_page import write_result_page

    known = read_prompts(prompts or PROMPTS_FILE)
    opened = Store(store, split, cache=cache)
    pretrained = load(checkpoint, text_encoder=text_encoder, device=device)
    with progress() as update:
        found = evaluate_zero_shot(
            pretrained, opened, prompts=known, part=part, top_k=top_k, seed=seed,
            on_progress=update,
        )  # fmt: skip
    result = zero_shot_result(
        found,
        contract_hash=opened.contract.hash,
        seed=seed,
        split=opened.split_name,
        selected_on_test=opened.selected_on_test,
        prompts_hash=hash_of(f"{label}: {one}" for label, one in known.items()),
        top_k=top_k or pretrained.config.alignment.top_k,
    )
    path = write_result(result, output)
    report = write_result_page(result, output, title="Findings from sentences alone")
    typer.echo(scorecard_table(found.scorecards[found.own_pooling]).plain(), err=True)
    if found.without_prompts:
        typer.echo(f"without prompts, not scored: {', '.join(found.without_prompts)}", err=True)
    print(path, report, sep="\n")
