"""`simcrop prepare`: from an archive of any format to a store."""

from pathlib import Path
from typing import Annotated

import typer

from simcrop.cli.options import (
    AnyRegion,
    ExecutorAddress,
    KeepPatientIds,
    Layout,
    Output,
    PaperLists,
    Root,
    Settings,
    Shard,
    Storage,
    Workers,
    num_workers,
    parse_shard,
)
from simcrop.cli.progress import progress


def prepare(
    archive: Annotated[Path, typer.Option("--input", "-i", help="Folder of the archive.")],
    output: Output,
    recipe: Annotated[str, typer.Option(help="Recipe or YAML file with the settings.")] = "paper",
    settings: Settings = None,
    root: Root = None,
    val_fraction: Annotated[float, typer.Option(min=0, max=1)] = 0.1,
    test_fraction: Annotated[float, typer.Option(min=0, max=1)] = 0.2,
    split_seed: Annotated[int, typer.Option(min=0)] = 0,
    keep_patient_ids: KeepPatientIds = False,
    any_region: AnyRegion = False,
    storage: Storage = "nii",
    layout: Layout = "tables",
    paper_lists: PaperLists = None,
    overwrite: Annotated[bool, typer.Option(help="Prepare finished volumes again.")] = False,
    workers: Workers = 0,
    shard: Shard = None,
    executor: ExecutorAddress = None,
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
    part = parse_shard(shard)
    contract = override(load_recipe(recipe), settings or []).contract()
    with progress() as update:
        summary = prepare_archive(
            archive,
            output,
            contract,
            workers=num_workers(workers),
            executor=executor,
            shard=part,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            keep_patient_ids=keep_patient_ids,
            any_region=any_region,
            storage=storage,
            overwrite=overwrite,
            root=root,
            layout=layout,
            paper_lists=paper_lists,
            on_progress=lambda done, total: update(done, total, "prepare volumes"),
        )
    print(output)
    next_step = f"simcrop pretrain {recipe} --store {output} -o RUN"
    if part is not None:
        next_step = "when all shards are done, the same command without --shard"
    typer.echo(
        f"{summary.num_prepared} prepared, {summary.num_skipped} were ready, "
        f"{summary.num_refused} refused; contract {contract.hash}\nnext: {next_step}",
        err=True,
    )
    if part is None and (summary.num_refused or summary.num_masks_refused):
        typer.echo(f"see {output / 'refused.csv'}", err=True)
        raise typer.Exit(1)
