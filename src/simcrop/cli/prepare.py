"""`simcrop prepare`: from an archive of any format to a store."""

from pathlib import Path
from typing import Annotated

import typer

from simcrop.cli.options import Layout, Output, PaperLists, Settings, Workers, num_workers
from simcrop.cli.progress import progress


def prepare(
    archive: Annotated[
        Path, typer.Option("--input", "-i", help="Folder with volumes.csv and reports.csv.")
    ],
    output: Output,
    recipe: Annotated[
        str, typer.Option(help="Recipe or YAML file whose `volume` settings to follow.")
    ] = "paper",
    settings: Settings = None,
    root: Annotated[
        Path | None, typer.Option(help="Where relative paths in the tables start.")
    ] = None,
    val_fraction: Annotated[float, typer.Option(min=0, max=1)] = 0.1,
    test_fraction: Annotated[float, typer.Option(min=0, max=1)] = 0.2,
    split_seed: Annotated[int, typer.Option(min=0)] = 0,
    keep_patient_ids: Annotated[
        bool, typer.Option(help="Store patient ids as they are, not as running pseudonyms.")
    ] = False,
    layout: Layout = "tables",
    paper_lists: PaperLists = None,
    overwrite: Annotated[bool, typer.Option(help="Prepare finished volumes again.")] = False,
    workers: Workers = 0,
) -> None:
    """Read, orient to RAS and resample every volume of an archive, once.

    Volumes that cannot be used are listed with the reason in refused.csv; the exit code is
    then 1, and the rest is ready to use. Run it again to continue where it stopped.
    """
    from simcrop.config import override
    from simcrop.data.prepare import prepare as prepare_archive
    from simcrop.recipes import load_recipe

    if val_fraction + test_fraction >= 1:
        raise typer.BadParameter("--val-fraction and --test-fraction leave nobody to train on")
    contract = override(load_recipe(recipe), settings or []).contract()
    with progress() as update:
        summary = prepare_archive(
            archive,
            output,
            contract,
            workers=num_workers(workers),
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            keep_patient_ids=keep_patient_ids,
            overwrite=overwrite,
            root=root,
            layout=layout,
            paper_lists=paper_lists,
            on_progress=lambda done, total: update(done, total, "prepare volumes"),
        )
    print(output)
    typer.echo(
        f"{summary.num_prepared} prepared, {summary.num_skipped} were ready, "
        f"{summary.num_refused} refused; contract {contract.hash}\n"
        f"next: simcrop pretrain {recipe} --store {output} -o RUN",
        err=True,
    )
    if summary.num_refused or summary.num_masks_refused:
        typer.echo(f"see {output / 'refused.csv'}", err=True)
        raise typer.Exit(1)
