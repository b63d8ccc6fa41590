"""`simcrop check`: what an archive or a store holds, and what is wrong with it."""

from pathlib import Path
from typing import Annotated

import typer

from simcrop.cli.options import AnyRegion, Layout, Output, Root, Settings, Workers, num_workers
from simcrop.cli.progress import progress


def check(
    folder: Annotated[Path, typer.Argument(help="Archive, or store made by `simcrop prepare`.")],
    output: Output,
    recipe: Annotated[str, typer.Option(help="Recipe or YAML file with the settings.")] = "paper",
    settings: Settings = None,
    root: Root = None,
    any_region: AnyRegion = False,
    layout: Layout = "tables",
    workers: Workers = 0,
) -> None:
    """Look at every volume and table, write check.html, check.json and refused.csv.

    Nothing is written into the archive or store. The exit code is 1 if anything was refused.
    """
    from simcrop.config import override
    from simcrop.data.check import check as check_folder
    from simcrop.data.check import write_summary
    from simcrop.recipes import load_recipe
    from simcrop.view.check_report import write_check

    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is no folder")
    contract = override(load_recipe(recipe), settings or []).contract()
    with progress() as update:
        checked = check_folder(
            folder,
            contract,
            workers=num_workers(workers),
            root=root,
            layout=layout,
            any_region=any_region,
            on_progress=lambda done, total: update(done, total, "look at volumes"),
        )
    write_summary(checked, output)
    print(write_check(checked, output))
    kinds = ", ".join(f"{count} {kind}" for kind, count in checked.kinds.most_common())
    typer.echo(
        f"{len(checked.looks)} of {checked.num_volumes} volumes usable; refused: "
        f"{kinds or 'nothing'}",
        err=True,
    )
    if checked.refused:
        raise typer.Exit(1)
