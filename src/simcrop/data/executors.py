"""Spread jobs over processes or a cluster: any `concurrent.futures.Executor` will do.

At home that is a pool of processes; on a cluster that runs Dask, its own executor. Jobs are a few
paths each and are handed out as others finish, so a long archive costs no more memory than a short
one; each process holds the one volume it works on.
"""

import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager
from functools import partial
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Any, TypeVar

import SimpleITK as sitk  # noqa: N813

from simcrop.errors import ConfigError, DataError, complain

J = TypeVar("J")
R = TypeVar("R")

_AHEAD = 256  # jobs handed out at once: enough for as many processes, few enough to take back
_SECONDS_TO_CONNECT = 30
SECONDS_TO_LEAVE = 30.0  # for a job whose parent is gone, until it is told again


@contextmanager
def open_executor(
    workers: int, executor: Executor | str | None = None
) -> Generator[Executor | None]:
    """Yield the given executor, else a pool of processes, or None where one process will do.

    Args:
        workers: processes on this machine.
        executor: somebody's own, which stays open; or `dask://host:port` of a Dask scheduler.

    Raises:
        ConfigError: if the address is no such address, or Dask is not installed.
        DataError: if nobody answers there.
    """
    if isinstance(executor, Executor):
        yield executor
    elif executor is not None:
        with _dask_executor(executor) as opened:
            yield opened
    elif workers <= 1:
        yield None
    else:
        # A forked copy of a process that already runs threads may hang; a spawned one starts clean.
        pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_start_worker)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def run_all(
    work: Callable[[J], R], jobs: Iterable[J], executor: Executor | None
) -> Iterator[tuple[J, R]]:
    """Yield every job with its result as it finishes; without an executor one after the other.

    The first error of a job is raised after the jobs already handed out were taken back.

    Raises:
        DataError: if a process of the executor dies.
    """
    waiting = iter(jobs)
    if executor is None:
        for job in waiting:
            yield job, work(job)
        return
    in_one_thread: Callable[[J], R] = partial(_in_one_thread, work)
    running: dict[Future[R], J] = {}
    try:
        while True:
            for job in islice(waiting, _AHEAD - len(running)):
                running[executor.submit(in_one_thread, job)] = job
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except _lost_worker() as error:
        raise DataError(
            complain(
                "a worker process died, most likely for want of memory",
                "room for one volume per worker",
                "Run again with fewer workers; finished volumes are kept.",
            ),
            kind="worker_died",
        ) from error
    finally:
        for future in running:
            future.cancel()


def _in_one_thread(work: Callable[[J], R], job: J) -> R:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    return work(job)


def _lost_worker() -> tuple[type[BaseException], ...]:
    """Return what executors raise when the process of a job is gone."""
    scheduler: Any = sys.modules.get("distributed.scheduler")  # loaded if Dask is in use
    lost = (BrokenExecutor, CancelledError)
    return lost if scheduler is None else (*lost, scheduler.KilledWorker)


def _start_worker() -> None:
    """Make a process of the pool end with the process that started it, and not before."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends the pool
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait until the parent is gone, by whatever signal, and end; a pool would wait for ever.

    A job may take the signal to leave its work in order, and the pool would begin the next one that
    lies in its queue: so it comes again.
    """
    parent = parent_process()
    if parent is not None:
        parent.join()
        while True:
            signal.raise_signal(signal.SIGTERM)
            time.sleep(SECONDS_TO_LEAVE)


@contextmanager
def _dask_executor(address: str) -> Generator[Executor]:
    scheme, _, place = address.partition("://")
    if scheme != "dask" or not place:
        raise ConfigError(
            complain(f"executor {address!r}", "dask://host:port", "Name a Dask scheduler.")
        )
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError(
            complain(
                f"executor {address}: Dask is not installed",
                "the package `distributed`",
                "Run `pip install 'simcrop[dask]'` here and where the workers run.",
            )
        ) from error
    try:
        client = Client(f"tcp://{place}", timeout=_SECONDS_TO_CONNECT)
    except (OSError, ValueError) as error:
        raise DataError(
            complain(
                f"executor {address}: nobody answers",
                "a Dask scheduler that runs",
                "Start it with `dask scheduler` and give the address that it prints.",
            ),
            kind="no_scheduler",
        ) from error
    with client:
        yield client.get_executor(pure=False)
