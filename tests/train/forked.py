"""Processes that share one import of torch and Lightning, which costs seconds in each otherwise."""

from collections.abc import Callable, Sequence
from multiprocessing import get_context


def run_processes(function: Callable[..., None], calls: Sequence[tuple]) -> list[int | None]:
    """Call a function in one process per tuple of arguments; return their exit codes.

    They are forked from a server that holds the imports and has computed nothing.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(["simcrop.train.run", "pytest"])
    processes = [context.Process(target=function, args=arguments) for arguments in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]
