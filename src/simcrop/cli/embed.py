"""`simcrop embed`: one vector per volume."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from simcrop.cli.options import Cache, Checkpoint, Device, Feature, Output
from simcrop.cli.progress import progress


def embed(
    checkpoint: Checkpoint,
    output: Output,
    store: Annotated[
        str | None, typer.Option("--store", "-s", help="Embed all volumes of a store ...")
    ] = None,
    volume: Annotated[
        list[Path] | None,
        typer.Option("--volume", "-v", help="... or these files and DICOM folders; repeatable."),
    ] = None,
    feature: Feature = "auto",
    patches: Annotated[
        bool, typer.Option("--patches", help="Write one vector per patch: an index for search.")
    ] = False,
    patch_tokens: Annotated[
        bool,
        typer.Option(
            "--patch-tokens",
            help="Write the encoder's patch tokens of a store, for --head attentive.",
        ),
    ] = False,
    cache: Cache = None,
    device: Device = "cpu",
) -> None:
    """Embed volumes with a frozen encoder; those that cannot be read are listed in failed.csv."""
    from simcrop.data.store import Store
    from simcrop.train.feature_files import PATCHES_FILE, TOKENS_FILE, save_features
    from simcrop.train.features import embed_files, embed_store
    from simcrop.train.pretrained import load
    from simcrop.train.search_index import write_index

    if (store is None) == (not volume):
        raise typer.BadParameter("give either --store or --volume")
    if patch_tokens and store is None:
        raise typer.BadParameter("--patch-tokens needs --store")
    pretrained = load(checkpoint, device=device)
    feature = pretrained.feature if feature == "auto" else feature
    patches_path = output / PATCHES_FILE if patches else None
    if store is not None:
        tokens_path = output / TOKENS_FILE if patch_tokens else None
        embed_all = partial(
            embed_store, pretrained, Store(store, cache=cache), tokens_path=tokens_path
        )
    else:
        embed_all = partial(embed_files, pretrained, volume or [])
    with progress() as update:
        features = embed_all(
            feature=feature, with_patches=patches, patches_path=patches_path, on_progress=update
        )
    save_features(features, output, pretrained, feature)
    if patches:
        write_index(output, features, pretrained, checkpoint=checkpoint, store=store or "")
    print(output)
    typer.echo(f"{len(features.index)} embedded, {len(features.failed)} failed", err=True)
    if len(features.failed):
        raise typer.Exit(1)
