"""`simcrop segment`: train a segmentation network on an encoder, use it, measure it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from simcrop.cli.options import (
    Cache,
    Device,
    Output,
    Settings,
    Split,
    one_of,
)
from simcrop.cli.progress import progress

segment = typer.Typer(
    help="Train a segmentation network on a pre-trained encoder, predict, evaluate.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _above_zero(value: float) -> float:
    if value <= 0:
        raise typer.BadParameter(f"{value}; expected a share above 0")
    return value


Encoder = Annotated[
    Path | None,
    typer.Option("--checkpoint", "-c", help="Pre-trained encoder: checkpoint or run folder."),
]
Trained = Annotated[
    Path | None,
    typer.Option("--checkpoint", "-c", help="Run of `simcrop segment train`, or its checkpoint."),
]


@segment.command()
def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            help="segment (default), segment_luna16, segment_btcv, segment_tiny, or a YAML file."
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write into.")
    ] = None,
    checkpoint: Encoder = None,
    store: Annotated[
        str | None,
        typer.Option("--store", "-s", help="Store with label maps: folder or URL."),
    ] = None,
    fraction: Annotated[
        float,
        typer.Option(max=1, callback=_above_zero, help="Share of the training patients used."),
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of all draws; short for --set seed.")
    ] = None,
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Start from fresh weights: the control.")
    ] = False,
    split: Split = "clean",
    settings: Settings = None,
    cache: Cache = None,
    resume: Annotated[
        Path | None,
        typer.Option(help="Go on with the run in this folder, which says all else; with --store "
                     "if its store has moved."),
    ] = None,
) -> None:  # fmt: skip
    """Fine-tune UNETR on a pre-trained encoder and label maps; keep the best validation epoch."""
    from simcrop.config import override
    from simcrop.data.store import Store
    from simcrop.recipes import load_segmentation_recipe
    from simcrop.train.run_folder import RunFolder
    from simcrop.train.segment import Task, resumed_segmentation, train_segmentation

    if resume is not None:
        if recipe or output or settings or checkpoint or seed is not None:
            raise typer.BadParameter("--resume takes recipe, folder and settings from the run")
        run, task, config = resumed_segmentation(resume)
        opened = run.open_store(store, cache, task.split)
    elif output is None or checkpoint is None or store is None:
        raise typer.BadParameter("a new run needs --output, --checkpoint and --store")
    else:
        run = RunFolder(output)
        task = Task(str(checkpoint.absolute()), fraction, untrained, split)
        changed = [*(settings or []), *([] if seed is None else [f"seed={seed}"])]
        config = override(load_segmentation_recipe(recipe or "segment"), changed)
        opened = Store(store, split, cache=cache)
    with progress() as update:
        segmenter = train_segmentation(
            config, task, opened, run, resume=resume is not None, on_progress=update
        )
    print(run.checkpoint)
    _tell_what_is_next(run.folder, run.curves, opened.location, segmenter.training)


def _tell_what_is_next(folder: Path, curves: Path, store: str, training: Mapping[str, Any]) -> None:
    dice = training["val_dice"]
    chosen = "the last" if dice is None else f"validation Dice {dice:.3f}"
    typer.echo(
        f"kept update {training['step']}, {chosen}\n"
        f"curves: {curves}\n"
        f"next: simcrop segment evaluate -c {folder} -s {store} -o RESULTS\n"
        f"      simcrop segment predict -c {folder} --volume CT -o LABELS",
        err=True,
    )


@segment.command()
def predict(
    checkpoint: Annotated[
        Path,
        typer.Option(
            "--checkpoint", "-c", help="Run of `simcrop segment train`, or its checkpoint."
        ),
    ],
    volume: Annotated[
        list[Path],
        typer.Option("--volume", "-v", help="CT file or DICOM folder; repeatable."),
    ],
    output: Output,
    window: Annotated[
        str,
        typer.Option(
            callback=one_of("auto", "lung", "soft"), help="auto, lung or soft, for the picture."
        ),
    ] = "auto",
    device: Device = "cpu",
) -> None:
    """Write the labels of a CT on its own voxels, under its own name, and a picture of them."""
    from simcrop.train.segment_predict import predict_files
    from simcrop.train.segmenter import load_segmenter

    segmenter = load_segmenter(checkpoint, device)
    with progress() as update:
        written = predict_files(segmenter, volume, output, window=window, on_progress=update)
    for one in written:
        found = ", ".join(f"{name} {ml:,.0f} ml" for name, ml in one.volumes_ml.items())
        typer.echo(f"{one.labels_path.name}: {found or 'nothing found'}", err=True)
        print(one.labels_path, one.picture_path, sep="\n")


@segment.command()
def evaluate(
    output: Output,
    checkpoint: Trained = None,
    store: Annotated[
        str | None, typer.Option("--store", "-s", help="Predict and score a store's volumes ...")
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(help="... or score label maps that lie in this folder, on their own voxels."),
    ] = None,
    references: Annotated[
        Path | None,
        typer.Option(help="Folder of label maps with the same names, or a Decathlon dataset.json."),
    ] = None,
    part: Annotated[
        str, typer.Option(callback=one_of("train", "val", "test"), help="Which patients.")
    ] = "test",
    split: Split = "clean",
    tolerance_mm: Annotated[float, typer.Option(min=0, help="Of the surface Dice, in mm.")] = 2.0,
    cache: Cache = None,
    device: Device = "cpu",
) -> None:
    """Dice, HD95, surface distance and surface Dice per class, with intervals over patients."""
    from simcrop.data.store import Store
    from simcrop.evaluate.results import write_result
    from simcrop.train.segment_evaluate import score_folder, score_store
    from simcrop.train.segmenter import load_segmenter

    on_store, on_files = (checkpoint, store), (predictions, references)
    if None not in on_store and on_files == (None, None):
        assert checkpoint is not None
        opened = Store(store or "", split, cache=cache)
        with progress() as update:
            result = score_store(
                load_segmenter(checkpoint, device),
                opened,
                part,
                tolerance_mm=tolerance_mm,
                on_progress=update,
            )
    elif None not in on_files and on_store == (None, None):
        assert predictions is not None
        assert references is not None
        with progress() as update:
            result = score_folder(
                predictions, references, tolerance_mm=tolerance_mm, on_progress=update
            )
    else:
        raise typer.BadParameter(
            "give either --checkpoint and --store, or --predictions and --references"
        )
    path = write_result(result, output)
    for table in result.tables.values():
        typer.echo(table.plain(), err=True)
    print(path)
