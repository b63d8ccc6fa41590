"""One cell of the benchmark: a variant with a seed, trained, measured and written down.

A cell is a folder: the run as `simcrop pretrain` leaves it, and the result with every value of
every item, from which tables are made later without any network. `results.json` is written last,
so a folder that has one is done and is never made again.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from simcrop.benchmark.cnn import cnn_scores
from simcrop.benchmark.measures import (
    Ruler,
    measure_encoder,
    measure_patch_statistics,
    measure_supervised,
)
from simcrop.benchmark.permuted import PermutedReports
from simcrop.benchmark.supervised import supervised_scores
from simcrop.benchmark.variants import Variant
from simcrop.benchmark.words import measure_words
from simcrop.config import Config
from simcrop.errors import DataError, complain
from simcrop.evaluate.items import Items
from simcrop.evaluate.results import RESULTS_FILE, NamedSet, Result, read_result, write_result
from simcrop.train.checkpoint import load_checkpoint, versions
from simcrop.train.networks import build_encoder, encoder_only
from simcrop.train.pretrained import Pretrained, load
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Cell:
    """A variant with a seed, and where it is kept."""

    variant: Variant
    seed: int
    steps: int
    folder: Path

    @property
    def config(self) -> Config:
        """Its settings."""
        return self.variant.config(self.seed, self.steps)

    @property
    def is_done(self) -> bool:
        """Whether it is finished."""
        return (self.folder / RESULTS_FILE).exists()

    def read(self) -> Result:
        """Return its result.

        Raises:
            DataError: if it was made with other settings than it would be now.
        """
        result = read_result(self.folder)
        if result.settings != _settings(self):
            raise DataError(
                complain(
                    f"{self.folder} was made with other settings",
                    "those of this version and of the options given",
                    "Delete the folder to make the cell again, or choose another -o.",
                )
            )
        return result


def run_cell(cell: Cell, ruler: Ruler, on_progress: Progress) -> None:
    """Train and measure one cell, going on from its last resume point where it was stopped."""
    clock = _Clock()
    variant, config, store = cell.variant, cell.config, ruler.store
    items: tuple[Items, ...] = ()
    if variant.kind == "patch statistics":
        items = measure_patch_statistics(config, store, cell.seed)
        clock.stop("evaluate")
    elif variant.kind == "supervised":
        scores = supervised_scores(config, store, on_progress)
        clock.stop("train")
        items = measure_supervised(scores, store)
    elif variant.kind == "cnn":
        num_seen = config.optimizer.length * config.optimizer.batch_size
        scores = cnn_scores(store, cell.seed, num_seen, on_progress)
        clock.stop("train")
        items = measure_supervised(scores, store)
    elif variant.kind == "untrained":
        items = measure_encoder(_untrained(config), ruler, cell.seed, on_progress)
        clock.stop("evaluate")
    else:
        run = RunFolder(cell.folder)
        source = PermutedReports(store.location, cell.seed) if variant.permuted else store
        pretrain(config, source, run, resume=run.config.exists(), on_progress=on_progress)
        clock.stop("train")
        items = measure_encoder(load(cell.folder), ruler, cell.seed, on_progress)
        if config.terms.masked_report:
            items = (*items, *measure_words(load_checkpoint(cell.folder), store))
        clock.stop("evaluate")
    result = Result(
        command="simcrop benchmark",
        figures={"cpu_seconds": clock.seconds, "variant": variant.name, "says": variant.says},
        sets={part: NamedSet.of(store.volume_ids(part)) for part in ("train", "val", "test")},
        contract_hash=config.contract().hash,
        seeds=(cell.seed,),
        versions=versions(),
        settings=_settings(cell),
        items=items,
    )
    write_result(result, cell.folder)


def _settings(cell: Cell) -> dict[str, object]:
    return {
        "kind": cell.variant.kind,
        "permuted": cell.variant.permuted,
        "config": cell.config.model_dump(mode="json"),
    }


def _untrained(config: Config) -> Pretrained:
    torch.manual_seed(config.seed)
    return Pretrained(encoder_only(build_encoder(config)), config, "")


class _Clock:
    """CPU seconds of each stage, all threads of this process."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.process_time()

    def stop(self, stage: str) -> None:
        """Give the CPU time since the last stop to a stage."""
        now = time.process_time()
        self.seconds[stage] = round(now - self._last, 1)
        self._last = now
