"""`simcrop pretrain`: learn from a store."""

from typing import Annotated

import typer

from simcrop.cli.options import Cache, Output, Settings
from simcrop.cli.progress import progress


def pretrain(
    output: Output,
    recipe: Annotated[
        str, typer.Argument(help="A recipe (paper, base, tiny, tiny_recommended) or YAML file.")
    ] = "paper",
    store: Annotated[
        str | None,
        typer.Option("--store", "-s", help="Store made by `simcrop prepare`: folder or URL."),
    ] = None,
    settings: Settings = None,
    cache: Cache = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the output folder.")
    ] = False,
) -> None:
    """Pre-train SimCroP on the training studies of a store."""
    import logging

    from simcrop.config import override, read_config
    from simcrop.data.store import Store
    from simcrop.errors import ConfigError
    from simcrop.recipes import load_recipe
    from simcrop.train.run import pretrain as run_pretraining
    from simcrop.train.run_folder import RunFolder

    logging.basicConfig(format="%(message)s")
    logging.getLogger("simcrop").setLevel(logging.INFO)
    run = RunFolder(output)
    if resume and settings:
        raise ConfigError("--resume repeats the run's own settings; --set needs a new run")
    if not resume and store is None:
        raise typer.BadParameter("a new run needs --store")
    config = read_config(run.config) if resume else override(load_recipe(recipe), settings or [])
    with progress() as update:
        run_pretraining(
            config, Store(store or run.store(), cache=cache), run, resume=resume, on_progress=update
        )
    print(run.checkpoint)
    typer.echo(
        f"curves: {run.curves}\n"
        f"next: simcrop probe --checkpoint {output} --store {store or run.store()} -o PROBE\n"
        f"      simcrop ground --checkpoint {output} --volume CT --sentence '...' -o MAPS",
        err=True,
    )
