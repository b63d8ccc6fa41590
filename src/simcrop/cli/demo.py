"""`simcrop demo`: the whole method on synthetic patients."""

from pathlib import Path
from typing import Annotated

import typer

from simcrop.cli.options import Output
from simcrop.cli.progress import progress


def demo(
    output: Output = Path("runs/demo"),
    patients: Annotated[int, typer.Option(min=40, help="Number of phantoms.")] = 2000,
    steps: Annotated[int, typer.Option(min=10, help="Updates of the recommended recipe.")] = 400,
    seed: Annotated[int, typer.Option(min=0)] = 0,
) -> None:
    """Write phantoms, prepare, pre-train, probe, ground, and report: the whole method once."""
    from simcrop.demo import run_demo

    with progress() as update:
        result = run_demo(output, patients=patients, steps=steps, seed=seed, on_progress=update)
    typer.echo(result.table, err=True)
    print(result.report)
    typer.echo(f"next: {result.next_command}", err=True)
