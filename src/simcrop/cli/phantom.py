"""`simcrop phantom`: synthetic patients with known findings."""

from typing import Annotated

import typer

from simcrop.cli.options import Output, Workers, num_workers
from simcrop.cli.progress import progress


def phantom(
    output: Output,
    patients: Annotated[int, typer.Option(min=1, help="Number of patients.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 0,
    difficulty: Annotated[float, typer.Option(min=0, max=1, help="0 is easy, 1 is hard.")] = 0.5,
    away: Annotated[
        bool,
        typer.Option("--away", help="Another hospital: other words, smaller lesions, more noise."),
    ] = False,
    spread: Annotated[
        float, typer.Option(min=0, max=1, help="0: chests lie alike; 1: anywhere in the scan.")
    ] = 0.0,
    workers: Workers = 0,
) -> None:
    """Write a study archive of synthetic chests with findings, masks and reports."""
    from simcrop.data.phantom import write_phantoms

    with progress() as update:
        write_phantoms(
            output,
            patients,
            seed,
            difficulty=difficulty,
            away=away,
            spread=spread,
            workers=num_workers(workers),
            on_progress=lambda done, total: update(done, total, "write phantoms"),
        )
    print(output)
    typer.echo(f"next: simcrop prepare -i {output} -o STORE --recipe tiny", err=True)
