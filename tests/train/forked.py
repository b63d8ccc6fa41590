"""Processes that share one import of torch and Lightning, which costs seconds in each otherwise."""

from collections.abc import Callable, Sequence
from multiprocessing import get_context

CONTEXT = get_context("forkserver")


def start_process(function: Callable[..., None], *arguments: object):
    """Call a function in a process, forked from a server that has imports and computed nothing."""
    CONTEXT.set_forkserver_preload(["simcrop.train.run", "pytest"])
    process = CONTEXT.Process(target=function, args=arguments)
    process.start()
    return process


def run_processes(function: Callable[..., None], calls: Sequence[tuple]) -> list[int | None]:
    """Call a function in one process per tuple of arguments; return their exit codes."""
    processes = [start_process(function, *arguments) for arguments in calls]
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]
