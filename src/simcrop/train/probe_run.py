"""`simcrop probe` from its sources to its result: features, parts, heads, figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simcrop.data.contract import STORED, meet
from simcrop.data.store import Store
from simcrop.errors import DataError, complain
from simcrop.evaluate.results import Result
from simcrop.train.feature_files import load_features
from simcrop.train.features import Features, Progress, embed_store
from simcrop.train.pretrained import Pretrained
from simcrop.train.probe import ProbePlan, ProbeResult, probe_parts
from simcrop.train.probe_folder import probe_result
from simcrop.train.probe_parts import divide, divide_foreign

UNTRAINED = "untrained"


@dataclass(frozen=True)
class ForeignTest:
    """Test volumes of another store.

    Attributes:
        store: whose volumes are tested on.
        part: `test`, or `all` of them.
    """

    store: Store
    part: str = "test"


@dataclass(frozen=True, eq=False)
class EncoderFeatures:
    """The features of one encoder for both stores; for one, where there is no foreign test."""

    name: str
    own: Features
    foreign: Features | None


def embed_encoders(
    pretrained: Pretrained,
    store: Store,
    foreign: ForeignTest | None = None,
    *,
    feature: str,
    untrained_seed: int | None = 0,
    on_progress: Progress = lambda done, total, what: None,
) -> list[EncoderFeatures]:
    """Embed the volumes by a checkpoint and, unless the seed is None, by fresh weights.

    Raises:
        DataError: as `embed_store`.
    """
    encoders = {"pre-trained": pretrained}
    if untrained_seed is not None:
        encoders[UNTRAINED] = pretrained.untrained(untrained_seed)

    def embed(encoder: Pretrained, volumes: Store, splits: Sequence[str]) -> Features:
        return embed_store(
            encoder, volumes, splits=splits, feature=feature, on_progress=on_progress
        )

    # where validation is the test part, its volumes are embedded once
    own_splits = ("train", "test") if store.selected_on_test else ("train", "val", "test")
    own_splits = own_splits if foreign is None else own_splits[:2]
    return [
        EncoderFeatures(
            name,
            embed(encoder, store, own_splits),
            None if foreign is None else embed(encoder, foreign.store, _splits(foreign)),
        )
        for name, encoder in encoders.items()
    ]


def _splits(foreign: ForeignTest) -> tuple[str, ...]:
    return ("test",) if foreign.part == "test" else ("train", "val", "test")


def read_encoders(
    folders: Sequence[Path],
    store: Store,
    foreign_folders: Sequence[Path] = (),
    foreign: ForeignTest | None = None,
    *,
    feature: str = "auto",
) -> list[EncoderFeatures]:
    """Read the features of some encoders, each named by its folder.

    Raises:
        DataError: if a folder holds none, if they were made of volumes that were prepared
            otherwise, or if there is not one foreign folder for each.
    """
    if len(foreign_folders) != (0 if foreign is None else len(folders)):
        raise DataError(
            complain(
                f"{len(folders)} feature files and {len(foreign_folders)} of the test store",
                "one of each for every encoder, in the same order",
                "Give --features and --test-features equally often, with --test-store.",
            )
        )
    names = [folder.name or str(folder) for folder in folders]
    names = names if len(set(names)) == len(names) else [str(folder) for folder in folders]

    def read(folder: Path, of: Store) -> Features:
        found = load_features(folder, feature)
        if found.contract is not None:
            remedy = "Embed this store by `simcrop embed`."
            meet(found.contract, of.contract, of.location, STORED, remedy)
        return found.features

    return [
        EncoderFeatures(
            name,
            read(folder, store),
            None if foreign is None else read(foreign_folders[i], foreign.store),
        )
        for i, (name, folder) in enumerate(zip(names, folders, strict=True))
    ]


def run_probe(
    encoders: Sequence[EncoderFeatures],
    store: Store,
    plan: ProbePlan,
    foreign: ForeignTest | None = None,
    *,
    feature: str,
) -> tuple[dict[str, list[ProbeResult]], Result]:
    """Fit and test heads on the features of every encoder.

    Raises:
        DataError: if labels, parts or what the head reads are missing, or if the encoders do not
            have the same test volumes.
    """
    probes: dict[str, list[ProbeResult]] = {}
    for encoder in encoders:
        if foreign is None or encoder.foreign is None:
            parts = divide(encoder.own, store)
        else:
            parts = divide_foreign(
                encoder.own, store, encoder.foreign, foreign.store, part=foreign.part
            )
        probes[encoder.name] = probe_parts(*parts, plan)
    tested = {results[0].opened.volume_ids for results in probes.values()}
    if len(tested) > 1:
        raise DataError(
            complain(
                f"{', '.join(probes)} have features of different test volumes",
                "the same ones, so that they can be compared",
                "Look into failed.csv of the features; probe them apart, then `simcrop compare`.",
            )
        )
    test_store = None if foreign is None else foreign.store
    return probes, probe_result(probes, plan, store, feature=feature, test_store=test_store)
