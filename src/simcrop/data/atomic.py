"""Write a file or folder whole or not at all: into a temporary neighbour, then one rename.

A run that is killed leaves at most `.tmp-` files, which later runs overwrite or remove; no reader
ever sees half a volume or half a table.
"""

import ctypes
import os
import shutil
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path, *, shared: bool = False, durable: bool = False) -> Generator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on error it goes.

    The temporary name keeps the suffix, because readers and writers choose a format by it.

    Args:
        path: of the file.
        shared: several processes may write this file at once, so each gets a temporary name of
            its own. What a killed one leaves must then be removed by `remove_unfinished`.
        durable: wait until the disk has it, so that it outlives a machine that loses power.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    own = f"{uuid.uuid4().hex[:12]}-" if shared else ""
    temporary = path.with_name(f".tmp-{own}{path.name}")
    try:
        yield temporary
        if durable:
            _sync(temporary)
        os.replace(temporary, path)
        if durable:
            _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Generator[Path]:
    """Yield an empty folder that takes the place of `path`, with all that was in it, on success.

    Old and new change places in one step where the system can do that (Linux, on its own file
    systems); elsewhere there is no folder for an instant between two renames. The disk has the
    new files before.
    """
    temporary = path.with_name(f".tmp-{path.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        for inside in (*temporary.iterdir(), temporary):
            _sync(inside)
        if not path.exists():
            os.replace(temporary, path)
        elif not _exchange(temporary, path):
            old = path.with_name(f".tmp-old-{path.name}")
            shutil.rmtree(old, ignore_errors=True)
            os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places in one step; return whether the system did it."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of linux/fs.h
    return rename is not None and not rename(
        here, os.fsencode(one), here, os.fsencode(other), exchange
    )


def _sync(path: Path) -> None:
    """Wait until the disk has a file or a folder's list of names."""
    if os.name != "posix" and path.is_dir():  # Windows opens no folder
        return
    number = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes left below a folder in which nobody writes now."""
    for path in [*folder.rglob(".tmp-*")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
