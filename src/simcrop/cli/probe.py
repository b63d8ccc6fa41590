"""`simcrop probe`: what a frozen encoder knows."""

from typing import Annotated

import typer

from simcrop.cli.options import (
    Cache,
    Checkpoint,
    Device,
    Feature,
    Output,
    Split,
    StoreFolder,
    above_zero,
)
from simcrop.cli.progress import progress


def probe(
    checkpoint: Checkpoint,
    store: StoreFolder,
    output: Output,
    fraction: Annotated[
        float,
        typer.Option(max=1, callback=above_zero, help="Share of the training patients used."),
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Draws them.")] = 0,
    feature: Feature = "auto",
    split: Split = "clean",
    untrained: Annotated[
        bool, typer.Option(help="Probe the same network with fresh weights beside it.")
    ] = True,
    cache: Cache = None,
    device: Device = "cpu",
) -> None:
    """Fit a linear classifier on frozen features; AUROC per label, intervals over patients."""
    from simcrop.data.store import Store
    from simcrop.evaluate.tables import auroc_table
    from simcrop.train.pretrained import load
    from simcrop.train.probe import probe_encoders, write_probe

    opened, pretrained = Store(store, split, cache=cache), load(checkpoint, device=device)
    feature = pretrained.feature if feature == "auto" else feature
    encoders = {"pre-trained": pretrained}
    if untrained:
        encoders["untrained"] = pretrained.untrained(seed)
    with progress() as update:
        results = probe_encoders(
            encoders, opened, feature=feature, fraction=fraction, seed=seed, on_progress=update
        )
    write_probe(results, opened, output, fraction=fraction, seed=seed, feature=feature)
    names = next(iter(results.values())).label_names
    typer.echo(auroc_table(names, {n: r.auroc for n, r in results.items()}).plain(), err=True)
    print(output / "results.json")
