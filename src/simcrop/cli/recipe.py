"""`simcrop recipe`: see every setting."""

from typing import Annotated

import typer

from simcrop.cli.options import Settings


def recipe(
    name: Annotated[str, typer.Argument(help="A recipe or YAML file.")] = "paper",
    settings: Settings = None,
) -> None:
    """Print a recipe as YAML, with every default; save it, edit it, train with it."""
    import yaml

    from simcrop.config import override
    from simcrop.recipes import load_recipe, load_segmentation_recipe

    load = load_segmentation_recipe if name.startswith("segment") else load_recipe
    config = override(load(name), settings or [])
    print(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), end="")
