"""Write a file whole or not at all: into a temporary neighbour, then one rename.

A run that is killed leaves at most `.tmp-` files, which later runs overwrite or remove; no reader
ever sees half a volume or half a table.
"""

import os
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path, *, shared: bool = False) -> Generator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on error it goes.

    The temporary name keeps the suffix, because readers and writers choose a format by it.

    Args:
        path: of the file.
        shared: several processes may write this file at once, so each gets a temporary name of
            its own. What a killed one leaves must then be removed by `remove_unfinished`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = f"{uuid.uuid4().hex[:12]}-" if shared else ""
    temporary = path.with_name(f".tmp-{own}{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left below a folder in which nobody writes now."""
    for path in folder.rglob(".tmp-*"):
        path.unlink(missing_ok=True)
