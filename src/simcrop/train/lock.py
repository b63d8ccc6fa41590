"""One process at a time in a run folder: a job that is requeued may meet the one it replaces."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from simcrop.errors import ConfigError, complain

try:
    import fcntl
except ImportError:  # Windows, where folders are not guarded
    fcntl = None


@contextmanager
def only_here(folder: Path) -> Generator[None]:
    """Keep other processes out of a folder until the end; a killed one keeps nobody out.

    The lock is the system's, on FOLDER/.lock; children do not inherit it. Where a file system
    knows none, nothing is guarded.

    Raises:
        ConfigError: if another process is in it.
    """
    if fcntl is None:
        yield
        return
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise ConfigError(
                complain(
                    f"another process trains in {folder}",
                    "one at a time",
                    "Wait for its end, or stop it, then resume the run.",
                )
            ) from error
        except OSError:  # a file system without locks
            yield
            return
        yield
