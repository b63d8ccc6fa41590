"""`simcrop compare`: result folders side by side."""

from pathlib import Path
from typing import Annotated

import typer

from simcrop.cli.options import Output


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...", help="Result folders; the first is set against the others."
        ),
    ],
    output: Output,
    model: Annotated[
        str | None,
        typer.Option(help="Whose values to take of every folder, if not its first: untrained, ..."),
    ] = None,
    on_common: Annotated[
        bool, typer.Option("--on-common", help="Compare on the items that all runs have.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Draws the resamples of the patients.")] = 0,
) -> None:
    """Compare runs on the same test items: one table, paired differences, intervals."""
    from simcrop.evaluate.compare_folders import compare_folders, name_folders
    from simcrop.evaluate.results import read_result, write_result
    from simcrop.train.checkpoint import versions
    from simcrop.view.result_page import write_result_page

    if len(runs) < 2:
        raise typer.BadParameter("one run; expected two or more result folders")
    names = name_folders(runs)
    folders = {name: read_result(run) for name, run in zip(names, runs, strict=True)}
    result = compare_folders(
        folders, versions=versions(), model=model, on_common=on_common, seed=seed
    )
    path = write_result(result, output)
    for table in result.tables.values():
        typer.echo(table.plain(), err=True)
    print(path)
    print(write_result_page(result, output, title=" and ".join(names)))
