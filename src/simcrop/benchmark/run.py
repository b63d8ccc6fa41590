"""The benchmark as a whole: phantoms, cells, and tables of what is there.

    FOLDER/home, FOLDER/away                the phantoms, and those of another hospital
    FOLDER/cells/VARIANT/seed_N             one cell each, see `cell`
    FOLDER/report.html, results.json, table.md, *.png   from the cells that are finished

A run may be stopped at any moment and started again with the same options: finished cells are
kept, an unfinished one goes on from its last resume point.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from simcrop.benchmark.cell import Cell, sets_of
from simcrop.benchmark.figures import draw
from simcrop.benchmark.sitting import run_cells
from simcrop.benchmark.summary import Summary
from simcrop.benchmark.tables import tables
from simcrop.benchmark.variants import OF_PATCH_SIZE, QUICK, VARIANTS, Variant
from simcrop.data.phantom import MADE_OF, write_phantoms
from simcrop.data.prepare import prepare
from simcrop.data.store import Store
from simcrop.errors import DataError, complain
from simcrop.evaluate.results import Result, write_result
from simcrop.train.checkpoint import versions
from simcrop.view.result_page import write_result_page

_SECONDS_BETWEEN_TABLES = 600  # all tables take 40 seconds
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Plan:
    """What is run.

    Attributes:
        variants: names from `VARIANTS`.
        seeds: of the networks and of the order of the studies; the same for every variant.
        patients: phantoms in all.
        test_patients: of them, held out; a further twentieth of all is for validation.
        away_patients: phantoms of another hospital, all for testing.
        steps: updates of every variant that trains.
        segment_steps: updates of the UNETRs on encoders of variants that have one; 0 for none.
        phantom_seed: of the phantoms. Settings were searched for on seeds 5001, 5002, 5011 to 5013.
        spread: of the phantoms: 0 where chests lie alike, 1 where they lie anywhere in the scan.
        small_patches: whether every variant has patches of half the width.
    """

    variants: tuple[str, ...] = tuple(VARIANTS)
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    patients: int = 5000
    test_patients: int = 500
    away_patients: int = 300
    steps: int = 900
    segment_steps: int = 160
    phantom_seed: int = 2026
    spread: float = 0.0
    small_patches: bool = False

    def variant(self, name: str) -> Variant:
        """Return a variant with the plan's size of patches."""
        variant = VARIANTS[name]
        return variant.with_small_patches() if self.small_patches else variant

    def calibrated(self) -> "Plan":
        """Return the plan nearest to the aims of the yardstick (docs/explanation/phantoms.md).

        Position alone hits below 0.35, and histograms tell eight findings of ten with less than
        0.65, none with more than 0.67: chests lie anywhere in the scan, and patches are small.
        """
        names = tuple(name for name in self.variants if name not in OF_PATCH_SIZE)
        return replace(self, variants=names, spread=1.0, small_patches=True, segment_steps=0)

    def cells(self, folder: Path) -> list[Cell]:
        """Return every cell, seed by seed, so that a table of few seeds comes first."""
        return [
            Cell(
                self.variant(name),
                seed,
                self.steps,
                folder / "cells" / name / f"seed_{seed}",
                self.segment_steps,
            )
            for seed in self.seeds
            for name in self.variants
        ]


FULL = Plan()
QUICK_PLAN = Plan(
    variants=QUICK,
    seeds=(1,),
    patients=2000,
    test_patients=300,
    away_patients=100,
    steps=400,
    segment_steps=0,
)


def run_benchmark(
    folder: Path,
    plan: Plan,
    *,
    workers: int = 1,
    minutes: float | None = None,
    on_progress: Progress,
) -> Path:
    """Make what is missing, then tables and pictures; return the path of report.html.

    Args:
        folder: new, or that of an earlier sitting.
        plan: the same as in earlier sittings.
        workers: cells at once, each in a process of its own.
        minutes: wall time after which no further cell is started; None sets no limit.
        on_progress: called with (done, total, what).

    Raises:
        DataError: if there are other phantoms than the plan asks for, or a finished cell was made
            with other settings or of others.
    """
    end = None if minutes is None else time.time() + 60 * minutes
    cells = plan.cells(folder)
    home, away = _stores(folder, plan, on_progress)
    Summary(cells, sets_of(home))  # what cannot be mixed is refused now, not after hours
    missing = [cell for cell in cells if not cell.is_done]
    summarised = time.monotonic()
    for _ in run_cells(missing, home, away, workers=workers, end=end, on_progress=on_progress):
        if time.monotonic() - summarised > _SECONDS_BETWEEN_TABLES:
            summarise(folder, cells, home, plan)
            summarised = time.monotonic()
    return summarise(folder, cells, home, plan)


def summarise(folder: Path, cells: Sequence[Cell], store: Store, plan: Plan) -> Path:
    """Write tables, pictures and page of the finished cells; return the path of the page."""
    sets = sets_of(store)
    summary = Summary(cells, sets)
    done = sum(map(len, summary.results.values()))
    result = Result(
        command="simcrop benchmark",
        figures={
            "variants": {
                name: {measure: one.to_dict() for measure, one in figures.items()}
                for name, figures in summary.figures().items()
            },
            "differences": {k: v.to_dict() for k, v in summary.differences().items()},
            "cpu_minutes": summary.cpu_minutes(),
            "cells_done": done,
            "cells": len(cells),
        },
        sets=sets,
        contract_hash=store.contract.hash,
        seeds=(plan.phantom_seed, *plan.seeds),
        versions=versions(),
        settings={
            "patients": plan.patients,
            "steps": plan.steps,
            "spread": plan.spread,
            "small_patches": plan.small_patches,
        },
        tables=tables(summary, len(cells)),
        drawings=draw(summary, cells, store) if done else {},
    )
    write_result(result, folder)
    return write_result_page(result, folder, title="Variants of the method on phantoms")


def _stores(folder: Path, plan: Plan, on_progress: Progress) -> tuple[Store, Store | None]:
    """Return the prepared phantoms of both hospitals, written at the first sitting."""
    home = _store(
        folder / "home", plan, plan.patients, plan.test_patients / plan.patients, on_progress
    )
    if not plan.away_patients:
        return home, None
    return home, _store(folder / "away", plan, plan.away_patients, None, on_progress)


def _store(
    folder: Path, plan: Plan, patients: int, test_fraction: float | None, on_progress: Progress
) -> Store:
    """Return the phantoms of a hospital; without a share for testing, of the other one.

    Raises:
        DataError: if there are phantoms already, and others, or not so many.
    """
    config = plan.variant("recommended").config(plan.seeds[0], plan.steps)
    is_away = test_fraction is None
    made_of = folder / "archive" / MADE_OF
    if not (folder / "store" / "splits.csv").exists():
        archive = write_phantoms(
            made_of.parent,
            patients,
            plan.phantom_seed + is_away,
            away=is_away,
            spread=plan.spread,
            workers=2,
            on_progress=lambda done, total: on_progress(done, total, f"write {folder.name}"),
        )
        prepare(
            archive,
            folder / "store",
            config.contract(),
            workers=2,
            val_fraction=0.0 if is_away else 0.05,
            test_fraction=test_fraction or 0.0,
            on_progress=lambda done, total: on_progress(done, total, f"prepare {folder.name}"),
        )
    spread = json.loads(made_of.read_text())["spread"] if made_of.exists() else plan.spread
    if spread != plan.spread:
        raise DataError(
            complain(
                f"{folder} has phantoms of spread {spread}",
                f"{plan.spread}, as the options ask for",
                "Give the options of the first sitting, or choose another -o.",
            )
        )
    store = Store(folder / "store")
    counts = len(store.volumes), len(store.volume_ids("test"))
    asked = patients, round((test_fraction or 0.0) * patients)
    if counts != asked:
        raise DataError(
            complain(
                f"{folder} has {counts[0]} phantoms, {counts[1]} of them held out",
                f"{asked[0]} and {asked[1]}, as the options ask for",
                "Give the options of the first sitting, or choose another -o.",
            )
        )
    return store
