"""`simcrop probe`: what a frozen encoder knows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from simcrop.cli.options import (
    Cache,
    Device,
    Feature,
    Output,
    Seeds,
    Split,
    StoreFolder,
    one_of,
    parse_shares,
    shares,
)
from simcrop.cli.progress import progress

if TYPE_CHECKING:
    from simcrop.data.store import Store
    from simcrop.train.probe_run import EncoderFeatures, ForeignTest

OptionalCheckpoint = Annotated[
    Path | None,
    typer.Option("--checkpoint", "-c", help="Checkpoint folder, or the run that holds one ..."),
]
FeatureFolders = Annotated[
    list[Path] | None,
    typer.Option(
        "--features", help="... or features by `simcrop embed`; repeat it to compare encoders."
    ),
]
Head = Annotated[
    str,
    typer.Option(
        callback=one_of("logistic", "paper", "nearest", "attentive"),
        help="logistic regression, the paper's linear probe by AdamW, nearest neighbours, or "
        "attentive: a query over patch tokens (needs features with --patch-tokens).",
    ),
]
Fractions = Annotated[
    str,
    typer.Option(
        "--fractions",
        "--fraction",
        callback=shares,
        help="Shares of the training patients, as 0.01,0.1,1; the largest is the headline.",
    ),
]
Protocol = Annotated[
    str,
    typer.Option(
        callback=one_of("auto", "ct_rate", "rad_chest_ct", "cc_ccii", "luna16"),
        help="Whose values the head paper takes; auto goes by the labels.",
    ),
]
TestStore = Annotated[str | None, typer.Option(help="Test on this store instead, by label name.")]
TestFeatures = Annotated[
    list[Path] | None, typer.Option(help="Its features, one for each --features.")
]
TestPart = Annotated[
    str, typer.Option(callback=one_of("test", "all"), help="Which of its volumes: test or all.")
]
Replay = Annotated[
    bool,
    typer.Option(
        "--replay-selection", help="Also say what choosing on the test part would have given."
    ),
]
Untrained = Annotated[
    bool, typer.Option(help="Probe the same network with fresh weights beside a checkpoint.")
]


def probe(
    store: StoreFolder,
    output: Output,
    checkpoint: OptionalCheckpoint = None,
    features: FeatureFolders = None,
    head: Head = "logistic",
    fractions: Fractions = "1",
    seeds: Seeds = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first of their seeds.")] = 0,
    protocol: Protocol = "auto",
    feature: Feature = "auto",
    split: Split = "clean",
    test_store: TestStore = None,
    test_features: TestFeatures = None,
    test_part: TestPart = "test",
    replay_selection: Replay = False,
    untrained: Untrained = True,
    cache: Cache = None,
    device: Device = "cpu",
) -> None:
    """Classify by frozen features: every figure per label, with intervals over patients."""
    from simcrop.data.store import Store
    from simcrop.evaluate.results import write_result
    from simcrop.train.probe import ProbePlan
    from simcrop.train.probe_run import ForeignTest, read_encoders, run_probe
    from simcrop.view.probe_cards import probe_cards
    from simcrop.view.result_page import write_result_page

    if (checkpoint is None) == (not features):
        raise typer.BadParameter("give either --checkpoint or --features")
    plan = ProbePlan(
        head, parse_shares(fractions), tuple(range(seed, seed + seeds)), protocol,
        replay_selection, device,
    )  # fmt: skip
    opened = Store(store, split, cache=cache)
    foreign = ForeignTest(Store(test_store, cache=cache), test_part) if test_store else None
    if checkpoint is not None:
        fresh = seed if untrained else None
        feature, encoders = _embed(checkpoint, opened, foreign, feature, fresh, device)
    else:
        folders = features or []
        encoders = read_encoders(folders, opened, test_features or [], foreign, feature=feature)
    _, result = run_probe(encoders, opened, plan, foreign, feature=feature)
    path = write_result(result, output)
    typer.echo(next(iter(result.tables.values())).plain(), err=True)
    print(path)
    title = f"Probe of {', '.join(encoder.name for encoder in encoders)}"
    print(write_result_page(result, output, title=title, cards=probe_cards(result)))


def _embed(
    checkpoint: Path,
    store: "Store",
    foreign: "ForeignTest | None",
    feature: str,
    untrained_seed: int | None,
    device: str,
) -> "tuple[str, list[EncoderFeatures]]":
    """Return which feature it is, and the features of a checkpoint and its control."""
    from simcrop.train.pretrained import load
    from simcrop.train.probe_run import embed_encoders

    pretrained = load(checkpoint, device=device)
    feature = pretrained.feature if feature == "auto" else feature
    with progress() as update:
        return feature, embed_encoders(
            pretrained, store, foreign, feature=feature, untrained_seed=untrained_seed,
            on_progress=update,
        )  # fmt: skip
