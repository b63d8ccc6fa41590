"""`simcrop ground`: where a sentence looks."""

from pathlib import Path
from typing import Annotated

import typer

from simcrop.cli.options import Checkpoint, Device, Output, TextEncoderPath, one_of


def ground(
    checkpoint: Checkpoint,
    volume: Annotated[Path, typer.Option("--volume", "-v", help="CT file or DICOM folder.")],
    sentence: Annotated[list[str], typer.Option(help="What to look for; repeatable.")],
    output: Output,
    mask: Annotated[
        Path | None, typer.Option(help="Mask to outline in the pictures, in the CT's frame.")
    ] = None,
    window: Annotated[
        str,
        typer.Option(callback=one_of("lung", "soft"), help="lung or soft, for the pictures."),
    ] = "lung",
    text_encoder: TextEncoderPath = None,
    device: Device = "cpu",
) -> None:
    """Write a sentence's similarity map as NIfTI (opens over the CT) and as a picture."""
    from simcrop.evaluate.slices import LUNG_WINDOW, SOFT_TISSUE_WINDOW
    from simcrop.train.ground import ground as ground_volume
    from simcrop.train.pretrained import load

    if not all(text.strip() for text in sentence):
        raise typer.BadParameter("--sentence without words")
    windows = {"lung": LUNG_WINDOW, "soft": SOFT_TISSUE_WINDOW}
    pretrained = load(checkpoint, text_encoder=text_encoder, device=device)
    written = ground_volume(
        pretrained, volume, sentence, output, mask_path=mask, window=windows[window]
    )
    for one in written:
        x, y, z = one.peak_mm
        typer.echo(
            f"{one.sentence}\n  peak {one.peak:.3f} at ({x:.0f}, {y:.0f}, {z:.0f}) mm RAS+, "
            f"median of the body {one.median:.3f}",
            err=True,
        )
        print(one.map_path)
        print(*one.picture_paths, sep="\n")
