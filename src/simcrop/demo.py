"""The whole method once, on synthetic patients: what `simcrop demo` runs.

Two recipes of the same size are trained on the same patients: `tiny`, the paper's form, and
`tiny_recommended`. They are compared with the same network untrained, by linear probe, by words
alone and by where sentences look; `simcrop.view.demo_report` makes the page.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simcrop.config import Config, override
from simcrop.data.atomic import atomic_path
from simcrop.data.phantom import write_phantoms
from simcrop.data.prepare import prepare
from simcrop.data.splits import hash_of
from simcrop.data.store import Store
from simcrop.data.volume import Volume, write_volume
from simcrop.errors import ConfigError, complain
from simcrop.evaluate.grounding import evaluate_grounding
from simcrop.evaluate.prompts import PROMPTS
from simcrop.evaluate.slices import mask_voxel
from simcrop.recipes import RECIPES
from simcrop.train.checkpoint import versions
from simcrop.train.features import embed_store
from simcrop.train.ground import picture
from simcrop.train.grounding import ground_store
from simcrop.train.masks import read_crop
from simcrop.train.pretrained import Pretrained, load
from simcrop.train.probe import ProbePlan, probe
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder
from simcrop.train.zero_shot import zero_shot
from simcrop.view.demo_report import (
    DemoResults,
    EncoderResults,
    GroundedPicture,
    WordResults,
    summary_table,
    write_demo_report,
)

Progress = Callable[[int, int, str], None]

PAPER_FORM, RECOMMENDED, UNTRAINED = "tiny", "tiny_recommended", "untrained"
FRACTIONS = (1.0, 0.1)
VAL_FRACTION, TEST_FRACTION = 0.05, 0.2


@dataclass(frozen=True)
class DemoSummary:
    """What the command line shows at the end."""

    report: Path
    table: str
    next_command: str


def run_demo(
    folder: Path, *, patients: int, steps: int, seed: int, on_progress: Progress
) -> DemoSummary:
    """Run the demo into a new folder; see the module's docstring.

    Args:
        folder: new or empty.
        patients: number of phantoms; a fifth of them is held out.
        steps: updates of the recommended recipe; the paper's form gets a third, since its loss
            is flat long before.
        seed: of phantoms and networks.
        on_progress: called with (done, total, what).

    Raises:
        ConfigError: if the folder is not empty.
    """
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(
            complain(f"{folder} is not empty", "a new folder", "Delete it or choose another -o.")
        )
    clock = _Clock()
    configs = _configs(steps, seed)
    store = _make_store(folder, patients, seed, configs[RECOMMENDED], clock, on_progress)
    encoders, curves = {}, {}
    for name, config in configs.items():
        run = RunFolder(folder / config.name)
        pretrain(config, store, run, on_progress=_named(on_progress, config.name))
        curves[name] = run.draw_curves()
        encoders[name] = load(run.folder)
        clock.stop(f"pre-train {config.name}")
    encoders[UNTRAINED] = encoders[RECOMMENDED].untrained(seed)
    figures = {
        name: _evaluate(name, encoders[name], store, on_progress)
        for name in (UNTRAINED, PAPER_FORM, RECOMMENDED)
    }
    pictures = draw_pictures(encoders[RECOMMENDED], store, folder / "maps")
    clock.stop("evaluate and draw")
    results = DemoResults(
        zero_shot_labels=tuple(name for name in store.need_labels().columns if name in PROMPTS),
        patients=patients,
        num_test=len(store.volume_ids("test")),
        encoders=figures,
        curves=curves,
        pictures=pictures,
        configs=configs,
        contract=store.contract,
        seconds=clock.seconds,
        versions=versions(),
        maps_folder=folder / "maps",
    )
    _write_results(results, store, seed, folder / "results.json")
    report = write_demo_report(folder / "report.html", results)
    return DemoSummary(
        report,
        summary_table(results),
        f"simcrop ground --checkpoint {folder / RECOMMENDED} --volume YOUR_CT "
        "--sentence 'Pleural effusion on the left.' -o maps",
    )


def _make_store(
    folder: Path, patients: int, seed: int, config: Config, clock: "_Clock", on_progress: Progress
) -> Store:
    """Write phantoms and prepare them."""
    archive = write_phantoms(
        folder / "archive",
        patients,
        seed,
        workers=2,
        on_progress=lambda done, total: on_progress(done, total, "write phantoms"),
    )
    clock.stop("write phantoms")
    prepare(
        archive,
        folder / "store",
        config.contract(),
        workers=2,
        val_fraction=VAL_FRACTION,
        test_fraction=TEST_FRACTION,
        on_progress=lambda done, total: on_progress(done, total, "prepare volumes"),
    )
    clock.stop("prepare")
    return Store(folder / "store")


def _configs(steps: int, seed: int) -> dict[str, Config]:
    """Return the two recipes with their number of updates."""
    lengths = {PAPER_FORM: max(2, steps // 3), RECOMMENDED: steps}
    return {
        name: override(
            RECIPES[name],
            [
                f"seed={seed}",
                f"optimizer.length={length}",
                f"optimizer.warmup={min(RECIPES[name].optimizer.warmup, length // 4)}",
            ],
        )
        for name, length in lengths.items()
    }


def _evaluate(
    name: str, encoder: Pretrained, store: Store, on_progress: Progress
) -> EncoderResults:
    """Measure one encoder on the held-out patients; an untrained one has no words to speak of."""
    named = _named(on_progress, name)
    has_words = name != UNTRAINED
    features = embed_store(encoder, store, with_patches=has_words, on_progress=named)
    results = probe(features, store, ProbePlan(fractions=FRACTIONS))
    probes = {result.fraction: result for result in results}
    if not has_words:
        return EncoderResults(probes, None)
    held_out = features.of("test")
    _, scores = zero_shot(encoder, store, held_out)
    grounded = ground_store(encoder, store, held_out)
    grounding = evaluate_grounding(grounded, top_k=encoder.config.alignment.top_k)
    return EncoderResults(probes, WordResults(scores, grounding))


def draw_pictures(encoder: Pretrained, store: Store, folder: Path) -> list[GroundedPicture]:
    """Draw the first held-out sentence of every finding, good or bad, and keep its map.

    Each finding gives the first sentence in the order of the table, so nothing is picked for
    its looks.
    """
    masks = store.need_masks()
    held_out = masks[masks["volume_id"].isin(store.volume_ids("test"))]
    pictures = []
    for label, rows in held_out.groupby("label", sort=True):
        row = rows.iloc[0]
        crop = read_crop(store, row["volume_id"], encoder)
        maps = encoder.similarity_map(crop, [row["sentence"]])
        hu, affine = store.read_hu(row["volume_id"])
        volume = Volume(hu, affine, row["volume_id"])
        name = f"{row['study_id']}_{str(label).lower().replace(' ', '_')}"
        folder.mkdir(parents=True, exist_ok=True)
        write_volume(folder / f"{name}_ct.nii.gz", hu, affine)
        write_volume(folder / f"{name}_map.nii.gz", maps.values[0].astype(np.float32), maps.affine)
        mask = store.read_mask(row["path"])
        figure = picture(maps, 0, row["sentence"], volume, mask, at=mask_voxel(mask))
        pictures.append(GroundedPicture(str(label), row["sentence"], figure))
    return pictures


def _write_results(results: DemoResults, store: Store, seed: int, path: Path) -> None:
    encoders = {
        name: {
            "probe": {str(fraction): result.to_dict() for fraction, result in one.probes.items()},
            **_describe_words(one.words, results.zero_shot_labels),
        }
        for name, one in results.encoders.items()
    }
    description = {
        "encoders": encoders,
        "num_patients": results.patients,
        "num_test": results.num_test,
        "test_set_hash": hash_of(store.volume_ids("test")),
        "contract_hash": results.contract.hash,
        "seed": seed,
        "seconds": results.seconds,
        "versions": results.versions,
    }
    with atomic_path(path) as unfinished:
        unfinished.write_text(json.dumps(description, indent=2), encoding="utf-8")


def _describe_words(words: WordResults | None, labels: tuple[str, ...]) -> dict[str, object]:
    if words is None:
        return {}
    return {"zero_shot": words.zero_shot.to_dict(labels), "grounding": words.grounding.to_dict()}


def _named(on_progress: Progress, name: str) -> Progress:
    return lambda done, total, what: on_progress(done, total, f"{name}: {what}")


class _Clock:
    """Wall seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def stop(self, stage: str) -> None:
        """Give the time since the last stop to a stage."""
        now = time.monotonic()
        self.seconds[stage] = round(now - self._last, 1)
        self._last = now
