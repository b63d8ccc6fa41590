"""One cell of the benchmark: a variant with a seed, trained, measured and written down.

A cell is a folder: the run as `simcrop pretrain` leaves it, and the result with every value of
every item, from which tables are made later without any network. `results.json` is written last,
so a folder that has one is done and is never made again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata

from simcrop.benchmark.cnn import cnn_scores
from simcrop.benchmark.costs import Costs
from simcrop.benchmark.measures import (
    measure_encoder,
    measure_patch_statistics,
    measure_supervised,
)
from simcrop.benchmark.permuted import PermutedReports
from simcrop.benchmark.ruler import Ruler
from simcrop.benchmark.segmentation import measure_segmentation
from simcrop.benchmark.supervised import supervised_scores
from simcrop.benchmark.variants import Variant
from simcrop.benchmark.words import measure_words
from simcrop.config import Config, from_mapping, override
from simcrop.data.store import Store
from simcrop.errors import ConfigError, DataError, complain
from simcrop.evaluate.items import Items
from simcrop.evaluate.results import RESULTS_FILE, NamedSet, Result, read_result, write_result
from simcrop.train.checkpoint import load_checkpoint, save_encoder, versions
from simcrop.train.networks import build_encoder, encoder_only
from simcrop.train.pretrained import Pretrained, load
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder
from simcrop.train.segment import Task

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Cell:
    """A variant with a seed, its updates and those of a UNETR on its encoder, and its folder."""

    variant: Variant
    seed: int
    steps: int
    folder: Path
    segment_steps: int = 0

    @property
    def config(self) -> Config:
        """Its settings."""
        return self.variant.config(self.seed, self.steps)

    @property
    def is_done(self) -> bool:
        """Whether it is finished."""
        return (self.folder / RESULTS_FILE).exists()

    def read(self, sets: Mapping[str, NamedSet]) -> Result:
        """Return its result.

        Args:
            sets: of the phantoms that it has to be of, see `sets_of`.

        Raises:
            DataError: if it was made with other settings than it would be now, or of other
                phantoms.
        """
        result = read_result(self.folder)
        if _as_today(result.settings) != _settings(self):
            raise DataError(
                complain(
                    f"{self.folder} was made with other settings",
                    "those of this version and of the options given",
                    "Delete the folder to make the cell again, or choose another -o.",
                )
            )
        if other := [part for part, one in sets.items() if result.sets.get(part) != one]:
            raise DataError(
                complain(
                    f"{self.folder} was made of other phantoms: {', '.join(other)}",
                    "those of home/ in the folder of the benchmark",
                    "Move the folder away, or choose another -o.",
                )
            )
        return result


def sets_of(store: Store) -> dict[str, NamedSet]:
    """Return the parts of the phantoms by their hashes."""
    return {part: NamedSet.of(store.volume_ids(part)) for part in ("train", "val", "test")}


def run_cell(cell: Cell, ruler: Ruler, on_progress: Progress) -> None:
    """Train and measure one cell, going on from its last resume point where it was stopped."""
    costs = Costs(cell.folder)
    items = _made(cell, ruler, costs, on_progress)
    config, store, variant = cell.config, ruler.store, cell.variant
    result = Result(
        command="simcrop benchmark",
        figures={"cpu_seconds": costs.seconds, "variant": variant.name, "says": variant.says},
        sets=sets_of(store),
        contract_hash=config.contract().hash,
        seeds=(cell.seed,),
        versions=versions(),
        settings=_settings(cell),
        items=tuple(map(kept, items)),
    )
    write_result(result, cell.folder)


def _made(cell: Cell, ruler: Ruler, costs: Costs, on_progress: Progress) -> tuple[Items, ...]:
    """Train what is to be trained and return the measures."""
    variant, config, store = cell.variant, cell.config, ruler.store
    if variant.kind == "patch statistics":
        with costs.of("evaluate"):
            return measure_patch_statistics(config, store, cell.seed)
    if variant.kind in ("supervised", "cnn"):
        with costs.of("train"):
            scores = _supervised_scores(cell, store, on_progress)
        return measure_supervised(scores, store)
    if variant.kind == "untrained":
        encoder = _untrained(config)
        fresh, place = encoder.simcrop.vision_encoder, RunFolder(cell.folder).checkpoint
        save_encoder(place, fresh, config, feature=encoder.feature, origin={})
        with costs.of("evaluate"):
            items = measure_encoder(encoder, ruler, cell.seed, on_progress)
        return *items, *_segmentation(cell, store, costs, on_progress)
    run = RunFolder(cell.folder)
    with costs.of("train"):
        source = PermutedReports(store.location, cell.seed) if variant.permuted else store
        pretrain(config, source, run, resume=run.config.exists(), on_progress=on_progress)
    with costs.of("evaluate"):
        items = measure_encoder(load(cell.folder), ruler, cell.seed, on_progress)
        if config.terms.masked_report:
            items = (*items, *measure_words(load_checkpoint(cell.folder), store))
    return *items, *_segmentation(cell, store, costs, on_progress)


def _segmentation(
    cell: Cell, store: Store, costs: Costs, on_progress: Progress
) -> tuple[Items, ...]:
    """Return the Dice of a UNETR on the cell's encoder, where the variant asks for it."""
    if not (cell.variant.segments and cell.segment_steps):
        return ()
    task, run = Task(str(cell.folder)), RunFolder(cell.folder / "unetr")
    with costs.of("segment"):
        return (
            measure_segmentation(
                task, run, store, steps=cell.segment_steps, seed=cell.seed, on_progress=on_progress
            ),
        )


def _supervised_scores(
    cell: Cell, store: Store, on_progress: Progress
) -> Float[np.ndarray, "test_volumes labels"]:
    config = cell.config
    if cell.variant.kind == "supervised":
        return supervised_scores(config, store, on_progress)
    num_seen = config.optimizer.length * config.optimizer.batch_size
    return cnn_scores(store, cell.seed, num_seen, on_progress)


def kept(items: Items) -> Items:
    """Return what a table needs of them, so that the cells of a benchmark can be passed on.

    Scores become ranks, which is all that an AUROC reads of them; other values keep four digits.
    """
    if items.truth is not None:
        return replace(items, values=rankdata(items.values, axis=0))
    four = np.vectorize(lambda value: float(f"{value:.4g}"), otypes=[float])
    return replace(items, values=four(items.values))


def _settings(cell: Cell) -> dict[str, object]:
    return {
        "kind": cell.variant.kind,
        "permuted": cell.variant.permuted,
        "config": _acting(cell.variant.kind, cell.config),
    }


def _as_today(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a cell with those that have come since at their defaults.

    Settings that are none of today's stay as they are.
    """
    try:
        config = from_mapping(settings["config"], "a cell", Config)
    except (ConfigError, KeyError, TypeError):
        return dict(settings)
    return {**settings, "config": _acting(settings.get("kind"), config)}


def _acting(kind: object, config: Config) -> dict[str, Any]:
    """Return the settings; a share of the whole is one of a trained alignment alone."""
    if kind != "pre-trained" or not config.terms.alignment:
        config = override(config, ["alignment.whole_share=0"])
    return config.model_dump(mode="json")


def _untrained(config: Config) -> Pretrained:
    torch.manual_seed(config.seed)
    return Pretrained(encoder_only(build_encoder(config)), config, "")
