"""Options that several commands share, so that they mean the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Checkpoint = Annotated[
    Path,
    typer.Option("--checkpoint", "-c", help="Checkpoint folder, or the run that holds one."),
]
StoreFolder = Annotated[
    Path, typer.Option("--store", "-s", help="Store made by `simcrop prepare`.")
]
Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write into.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...")]
Workers = Annotated[int, typer.Option(min=0, help="Processes; 0 takes all cores.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one setting, e.g. optimizer.lr=1e-4; repeatable."),
]
TextEncoderPath = Annotated[
    str | None,
    typer.Option(help="Where the text encoder of the pre-training is, if it has moved."),
]
Feature = Annotated[str, typer.Option(help="post_norm_gap, pre_norm_gap or cls.")]


def num_workers(wanted: int) -> int:
    """Return the number of processes to use."""
    import os

    return wanted or len(os.sched_getaffinity(0))
