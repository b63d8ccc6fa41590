"""`simcrop benchmark`: variants of the method, compared on phantoms with known truth."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from simcrop.cli.options import Output, num_workers
from simcrop.cli.progress import progress


def benchmark(
    output: Output = Path("runs/benchmark"),
    quick: Annotated[
        bool, typer.Option("--quick", help="One seed, few patients and updates: 20 minutes.")
    ] = False,
    variants: Annotated[
        str | None, typer.Option(help="Which, comma-separated; all unless given.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="How many seeds.")] = None,
    patients: Annotated[int | None, typer.Option(min=40, help="Phantoms in all.")] = None,
    steps: Annotated[int | None, typer.Option(min=2, help="Updates of each variant.")] = None,
    spread: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Of the phantoms: 1 puts chests anywhere in the scan."),
    ] = None,
    calibrated: Annotated[
        bool,
        typer.Option(
            "--calibrated",
            help="Spread 1 and small patches for every variant: neither histograms nor position "
            "alone tell much. Thrice the time.",
        ),
    ] = False,
    workers: Annotated[
        int, typer.Option(min=0, help="Cells at once, some 4 GB each; 0 takes all cores.")
    ] = 2,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Start no further cell after so long.")
    ] = None,
) -> None:
    """Train and measure variants of the method on phantoms; go on where an earlier call ended."""
    from simcrop.benchmark.run import FULL, QUICK_PLAN, run_benchmark

    if calibrated and spread is not None:
        raise typer.BadParameter("--calibrated has a spread of its own; leave --spread out")
    plan, known = (QUICK_PLAN if quick else FULL), FULL.variants
    if calibrated:
        plan, known = plan.calibrated(), FULL.calibrated().variants
    if variants is not None:
        names = tuple(variants.split(","))
        if unknown := sorted(set(names) - set(known)):
            raise typer.BadParameter(f"{', '.join(unknown)}; expected of {', '.join(known)}")
        plan = replace(plan, variants=names)
    if seeds is not None:
        plan = replace(plan, seeds=tuple(range(1, seeds + 1)))
    if patients is not None:
        test = min(plan.test_patients, patients // 5)
        plan = replace(plan, patients=patients, test_patients=test)
    if steps is not None:
        plan = replace(plan, steps=steps)
    if spread is not None:
        plan = replace(plan, spread=spread)
    with progress() as update:
        report = run_benchmark(
            output, plan, workers=num_workers(workers), minutes=minutes, on_progress=update
        )
    table = report.with_name("table.md")
    typer.echo(table.read_text(encoding="utf-8"), err=True)
    print(table, report, sep="\n")
