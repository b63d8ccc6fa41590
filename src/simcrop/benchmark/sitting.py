"""The cells of one sitting: one after the other, or several at once in processes of one thread.

Networks of this size gain little from a second thread, so two cores are best given two cells. A
process holds the phantoms in memory, some 4 GB for 5,000. Whoever stops a sitting loses nothing:
cells that are being trained leave a resume point.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import active_children

import torch
from threadpoolctl import threadpool_limits

from simcrop.benchmark.cell import Cell, run_cell
from simcrop.benchmark.ruler import Ruler
from simcrop.data.executors import open_executor, run_all
from simcrop.data.store import Store

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class _Job:
    """A cell, where the phantoms are, and the time after which it is not begun."""

    cell: Cell
    home: str
    away: str | None
    end: float | None


def run_cells(
    cells: Sequence[Cell],
    home: Store,
    away: Store | None,
    *,
    workers: int,
    end: float | None,
    on_progress: Progress,
) -> Iterator[Cell]:
    """Make cells and yield each when it is finished, in whichever order.

    Args:
        cells: none of them finished.
        home: the phantoms.
        away: those of another hospital.
        workers: processes; 1 stays in this one, with all its threads.
        end: `time.time()` after which no further cell is begun; None sets no limit.
        on_progress: called with (done, total, what).
    """
    away_place = None if away is None else str(away.location)
    jobs = [_Job(cell, str(home.location), away_place, end) for cell in cells]
    if workers <= 1:
        for number, job in enumerate(jobs, start=1):
            name = f"{number} of {len(jobs)}, {job.cell.variant.name} seed {job.cell.seed}: "
            if _make(job, _named(on_progress, name)):
                yield job.cell
        return
    on_progress(0, len(jobs), "cells")
    with open_executor(workers) as executor:
        try:
            done = 0
            for job, made in run_all(_make_alone, jobs, executor):
                if made:
                    done += 1
                    last = f"cells, last {job.cell.variant.name} seed {job.cell.seed}"
                    on_progress(done, len(jobs), last)
                    yield job.cell
        except BaseException:  # the rest of the sitting would be waited for
            for child in active_children():
                child.terminate()
            raise


def _make_alone(job: _Job) -> bool:
    torch.set_num_threads(1)
    with threadpool_limits(limits=1):  # of NumPy and scikit-learn
        return _make(job, lambda done, total, what: None)


def _make(job: _Job, on_progress: Progress) -> bool:
    """Make a cell; False if the time was up before it was begun."""
    if job.end is not None and time.time() > job.end:
        return False
    run_cell(job.cell, _ruler(job.home, job.away), on_progress)
    return True


@cache
def _ruler(home: str, away: str | None) -> Ruler:
    return Ruler(Store(home), None if away is None else Store(away))


def _named(on_progress: Progress, name: str) -> Progress:
    return lambda done, total, what: on_progress(done, total, f"cell {name}{what}")
