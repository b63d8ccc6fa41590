"""Write a file whole or not at all: into a temporary neighbour, then one rename.

A run that is killed leaves at most a `.tmp-` file, which the next run overwrites; no reader ever
sees half a volume or half a table.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path) -> Generator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on error it goes.

    The temporary name keeps the suffix, because readers and writers choose a format by it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
