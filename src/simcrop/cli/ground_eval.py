"""`simcrop ground-eval`: do sentences find their voxels?"""

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


def ground_eval(
    checkpoint: Checkpoint,
    store: StoreFolder,
    output: Output,
    part: Annotated[
        str,
        typer.Option(
            callback=one_of("train", "val", "test", "all"), help="train, val, test or all."
        ),
    ] = "test",
    top_k: Annotated[
        int | None, typer.Option(min=1, help="k of hit@k; the checkpoint's own unless given.")
    ] = None,
    edits: Annotated[
        bool, typer.Option(help="Also erase findings and mirror volumes; slower.")
    ] = True,
    seed: Annotated[int, typer.Option(min=0, help="Of intervals and random controls.")] = 0,
    split: Split = "clean",
    text_encoder: TextEncoderPath = None,
    cache: Cache = None,
    device: Device = "cpu",
) -> None:
    """Score all sentences that have masks, beside controls that cannot know; write a report."""
    from simcrop.data.store import Store
    from simcrop.evaluate.grounding_tables import controls_table, findings_table
    from simcrop.evaluate.results import write_result
    from simcrop.train.grounding_result import grounding_result
    from simcrop.train.grounding_study import draw_examples, study_grounding
    from simcrop.train.pretrained import load
    from simcrop.view.grounding_report import write_grounding_report

    opened = Store(store, split, cache=cache)
    pretrained = load(checkpoint, text_encoder=text_encoder, device=device)
    with progress() as update:
        study = study_grounding(
            pretrained, opened, part=part, top_k=top_k, with_edits=edits, seed=seed,
            on_progress=update,
        )  # fmt: skip
    result = grounding_result(
        study,
        contract_hash=opened.contract.hash,
        seed=seed,
        split=opened.split_name,
        selected_on_test=opened.selected_on_test,
        examples=draw_examples(study, pretrained, opened),
    )
    path = write_result(result, output)
    report = write_grounding_report(output / "report.html", study, result)
    typer.echo(findings_table(study.result, study.groups).plain(), err=True)
    typer.echo(controls_table(study.result).plain(), err=True)
    print(path, report, sep="\n")
