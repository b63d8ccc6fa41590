"""`simcrop recipe`: see every setting."""

from typing import Annotated

import typer

from simcrop.cli.options import Settings


def recipe(
    name: Annotated[str, typer.Argument(help="A recipe or YAML file.")] = "paper",
    settings: Settings = None,
) -> None:
    """Print a recipe as YAML, with every default; save it, edit it, pre-train with it."""
    import yaml

    from simcrop.config import override
    from simcrop.recipes import load_recipe

    config = override(load_recipe(name), settings or [])
    print(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), end="")
