"""Options that several commands share, so that they mean the same everywhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def one_of(*choices: str) -> Callable[[str], str]:
    """Return a check that a value is one of the choices; wrong usage otherwise."""

    def check(value: str) -> str:
        if value not in choices:
            raise typer.BadParameter(f"{value!r}; expected one of {', '.join(choices)}")
        return value

    return check


def shares(text: str) -> str:
    """Check that a text is a list of shares in (0, 1]; wrong usage otherwise."""
    try:
        are_shares = all(0 < float(part) <= 1 for part in text.split(","))
    except ValueError:
        are_shares = False
    if not are_shares:
        raise typer.BadParameter(f"{text!r}; expected shares in (0, 1], as 0.01,0.1,1")
    return text


def parse_shares(text: str) -> tuple[float, ...]:
    """Return the shares of a text that `shares` has checked."""
    return tuple(float(part) for part in text.split(","))


Checkpoint = Annotated[
    Path,
    typer.Option("--checkpoint", "-c", help="Checkpoint folder, or the run that holds one."),
]
StoreFolder = Annotated[
    str, typer.Option("--store", "-s", help="Store made by `simcrop prepare`: folder or URL.")
]
Cache = Annotated[
    Path | None,
    typer.Option(help="Folder on a fast disk for uncompressed volumes and the files of a URL."),
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
Feature = Annotated[
    str,
    typer.Option(
        callback=one_of(
            "auto", "post_norm_gap", "post_norm_max", "pre_norm_gap", "cls", "aligned_max"
        ),
        help="post_norm_gap, post_norm_max, pre_norm_gap, cls or aligned_max; auto is the "
        "checkpoint's own: pre_norm_gap for the authors', aligned_max for the recommended recipes, "
        "else post_norm_gap.",
    ),
]
Layout = Annotated[
    str,
    typer.Option(
        callback=one_of(
            "tables", "ct_rate", "rad_chest_ct", "cc_ccii", "luna16", "btcv", "decathlon"
        ),
        help="tables, or a public set as published: ct_rate, rad_chest_ct, cc_ccii, luna16, btcv, "
        "or any set with a Decathlon dataset.json: decathlon.",
    ),
]
PaperLists = Annotated[
    Path | None,
    typer.Option(help="Folder with the authors' lists of a public set; adds paper_split."),
]
Root = Annotated[
    Path | None, typer.Option(help="Where relative paths in the tables start, if not beside them.")
]
AnyRegion = Annotated[
    bool, typer.Option(help="Take volumes without lungs in view: abdomens, heads.")
]
Storage = Annotated[
    str,
    typer.Option(
        callback=one_of("nii", "nii.gz"),
        help="Volumes as nii, fast, or as nii.gz, half as large.",
    ),
]
KeepPatientIds = Annotated[
    bool, typer.Option(help="Store patient ids as they are, not as running pseudonyms.")
]
Seeds = Annotated[int, typer.Option(min=1, help="Runs of every fraction.")]
Shard = Annotated[
    str | None,
    typer.Option(help="i/n: do only the i-th of n parts, as one task of a job array."),
]
ExecutorAddress = Annotated[
    str | None,
    typer.Option("--executor", help="dask://host:port of a scheduler, in place of --workers."),
]
Split = Annotated[
    str,
    typer.Option(
        callback=one_of("clean", "paper_split"),
        help="clean, or paper_split: the authors' lists, whose results are selected on test.",
    ),
]


def parse_shard(text: str | None) -> tuple[int, int] | None:
    """Return i and n of "i/n"; wrong usage otherwise."""
    if text is None:
        return None
    number, _, of = text.partition("/")
    if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise typer.BadParameter(f"--shard {text}; expected i/n with i from 1 to n, like 3/8")
    return int(number), int(of)


def num_workers(wanted: int) -> int:
    """Return the number of processes to use."""
    import os

    if wanted or not hasattr(os, "sched_getaffinity"):  # macOS and Windows have none
        return wanted or os.cpu_count() or 1
    return len(os.sched_getaffinity(0))
