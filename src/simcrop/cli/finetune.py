"""`simcrop finetune`: what the encoder is worth when it may move."""

from typing import Annotated

import typer

from simcrop.cli.options import (
    Cache,
    Checkpoint,
    Device,
    Feature,
    Output,
    Seeds,
    Split,
    StoreFolder,
    parse_shares,
    shares,
)
from simcrop.cli.progress import progress


def finetune(
    checkpoint: Checkpoint,
    store: StoreFolder,
    output: Output,
    fractions: Annotated[
        str, typer.Option(callback=shares, help="Shares of the training patients, as 0.01,0.1,1.")
    ] = "1",
    seeds: Seeds = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first of their seeds.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training volumes.")] = 10,
    lr: Annotated[float, typer.Option(help="Peak learning rate of the encoder.")] = 1e-4,
    head_lr: Annotated[float, typer.Option(help="Peak learning rate of the head.")] = 1e-3,
    batch_size: Annotated[int, typer.Option(min=1, help="Volumes per update.")] = 8,
    feature: Feature = "auto",
    split: Split = "clean",
    cache: Cache = None,
    device: Device = "cpu",
) -> None:
    """Train encoder and linear head on labels; validation keeps the best epoch."""
    from simcrop.config import FinetuneConfig
    from simcrop.data.store import Store
    from simcrop.evaluate.results import write_result
    from simcrop.train.finetune_run import finetune as run
    from simcrop.train.pretrained import load
    from simcrop.view.probe_cards import probe_cards
    from simcrop.view.result_page import write_result_page

    if feature == "aligned_max":
        raise typer.BadParameter(f"--feature {feature}; expected a feature of the encoder's tokens")
    if min(lr, head_lr) <= 0:
        raise typer.BadParameter(f"--lr {lr} --head-lr {head_lr}; expected rates above 0")
    config = FinetuneConfig(lr=lr, head_lr=head_lr, batch_size=batch_size, epochs=epochs)
    opened, pretrained = Store(store, split, cache=cache), load(checkpoint, device=device)
    if feature == "auto":  # the head trains with the encoder, on its tokens
        own = pretrained.feature
        feature = "post_norm_gap" if own == "aligned_max" else own
    with progress() as update:
        result = run(
            pretrained,
            opened,
            config,
            output,
            fractions=parse_shares(fractions),
            seeds=range(seed, seed + seeds),
            feature=feature,
            device=device,
            on_progress=update,
        )
    path = write_result(result, output)
    typer.echo(next(iter(result.tables.values())).plain(), err=True)
    print(path)
    cards = probe_cards(result)
    print(write_result_page(result, output, title="Fine-tuned beside frozen", cards=cards))
