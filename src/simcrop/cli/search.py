"""`simcrop search`: the nearest studies to a text, and the place in each."""

from pathlib import Path
from typing import Annotated

import typer

from simcrop.cli.options import Device, TextEncoderPath, one_of
from simcrop.cli.progress import progress


def search(
    index: Annotated[Path, typer.Argument(help="Folder written by `simcrop embed --patches`.")],
    query: Annotated[list[str], typer.Argument(help="What to look for; one or several texts.")],
    checkpoint: Annotated[
        Path | None,
        typer.Option("--checkpoint", "-c", help="The index's own, if it has moved."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Studies per text.")] = 10,
    by: Annotated[
        str,
        typer.Option(callback=one_of("top-k", "global"), help="top-k patches, or global vectors."),
    ] = "top-k",
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Patches that make a volume's score.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write the table, and a map and a picture of each."),
    ] = None,
    text_encoder: TextEncoderPath = None,
    device: Device = "cpu",
) -> None:
    """Find the nearest studies to texts in an index, exactly, and the best place in each."""
    from simcrop.train.pretrained import load
    from simcrop.train.search import results_table
    from simcrop.train.search import search as search_index
    from simcrop.train.search_index import open_index
    from simcrop.train.search_pictures import write_found

    if not all(any(map(str.isalpha, text)) for text in query):
        raise typer.BadParameter("a text without words")
    opened = open_index(index)
    pretrained = load(
        checkpoint or Path(opened.description["checkpoint"]),
        text_encoder=text_encoder,
        device=device,
    )
    with progress() as update:
        found = search_index(
            opened, pretrained, query, by=by, top_k=top_k, limit=limit, on_progress=update
        )
        print(results_table(found).plain(), end="")
        if output is not None:
            write_found(found, opened, pretrained, output, on_progress=update)
            typer.echo(f"written to {output}", err=True)
