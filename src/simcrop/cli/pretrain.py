"""`simcrop pretrain`: learn from a store."""

from pathlib import Path
from typing import Annotated

import typer

from simcrop.cli.options import Cache, Settings
from simcrop.cli.progress import progress


def pretrain(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="A recipe (paper, base, base_recommended, tiny, tiny_recommended) or YAML file.",
            show_default="paper",
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the new run.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", "-s", help="Store made by `simcrop prepare`: folder or URL."),
    ] = None,
    settings: Settings = None,
    cache: Cache = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Go on with the run in this folder, which says all else; with --store "
                     "if its store has moved."),
    ] = None,
) -> None:  # fmt: skip
    """Pre-train SimCroP on the training studies of a store."""
    import logging

    from simcrop.config import Config, located, override, read_config
    from simcrop.data.store import Store
    from simcrop.recipes import load_recipe
    from simcrop.train.run import pretrain as run_pretraining
    from simcrop.train.run_folder import RunFolder
    from simcrop.train.strategy import is_first_process

    logging.basicConfig(format="%(message)s")
    logging.getLogger("simcrop").setLevel(logging.INFO)
    if resume is not None:
        if recipe or output or settings:
            raise typer.BadParameter("--resume takes recipe, folder and settings from the run")
        run = RunFolder(resume)
        config = read_config(run.config, Config)
        opened = run.open_store(store, cache)
    elif output is None or store is None:
        raise typer.BadParameter("a new run needs --output and --store")
    else:
        run = RunFolder(output)
        config = located(override(load_recipe(recipe or "paper"), settings or []))
        opened = Store(store, cache=cache)
    with progress() as update:
        run_pretraining(config, opened, run, resume=resume is not None, on_progress=update)
    if not is_first_process():
        return
    print(run.checkpoint)
    typer.echo(f"curves: {run.curves}\nnext: " + "\n      ".join(run.next_commands()), err=True)
