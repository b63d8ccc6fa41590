"""`simcrop convert`: other projects' weights into a checkpoint of ours."""

from pathlib import Path
from typing import Annotated

import typer

from simcrop.cli.options import Output, one_of


def convert(
    weights: Annotated[Path, typer.Argument(help="The file: .pth, .pt, .ckpt or .safetensors.")],
    output: Output,
    source: Annotated[
        str,
        typer.Option(
            callback=one_of("authors", "mae"),
            help="authors: their SimCroP encoder. mae: an ImageNet MAE ViT-B to start from.",
        ),
    ] = "authors",
    recipe: Annotated[
        str, typer.Option(help="Recipe or YAML file with the encoder's size and volume settings.")
    ] = "paper",
) -> None:
    """Convert the authors' checkpoint, or ImageNet MAE weights to start a training from."""
    from simcrop.recipes import load_recipe
    from simcrop.train.convert import convert as convert_weights

    transfer = convert_weights(weights, source, load_recipe(recipe), output)
    for title, names in (
        ("used", transfer.used),
        ("unused", transfer.unused),
        ("missing, left at their start", transfer.missing),
    ):
        typer.echo(f"{title}: {len(names)}", err=True)
        for name in names:
            typer.echo(f"  {name}", err=True)
    if source == "authors":
        typer.echo(f"position table: {transfer.position}", err=True)
        if transfer.position == "two_axis":
            typer.echo("  it ignores depth: only gx * gy of its rows differ (D-20)", err=True)
        following = f"simcrop probe --checkpoint {output} --store STORE -o PROBE"
    else:
        following = f"simcrop pretrain paper --set vision_encoder.init={output} -s STORE -o RUN"
    print(output)
    typer.echo(f"next: {following}", err=True)
