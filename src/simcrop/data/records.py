"""What a job made or refused, kept in the store beside its volumes so that no run does it twice.

A finished volume counts as long as its files are there. A refused one counts as long as its source
is as it was, and the same version looks at it: a repaired file is tried again.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from simcrop._version import __version__
from simcrop.data.atomic import atomic_path

Row = dict[str, Any]

_PASSING = {"unreadable", "missing_file"}  # the system's word, and it may change its mind


@dataclass
class Record:
    """What a job made: rows for the tables of the store; no manifest row if it was refused."""

    manifest: Row | None = None
    masks: list[Row] = field(default_factory=list)
    anatomy: Row | None = None
    refused: list[Row] = field(default_factory=list)


def write_record(record: Record, path: Path, fingerprint: str, source: Path) -> None:
    """Keep a record; that of a refusal which may pass is not kept.

    Args:
        record: of a job.
        path: see `record_path`.
        fingerprint: of the job.
        source: file or folder of the volume.
    """
    saved: Row = {"fingerprint": fingerprint, "record": asdict(record)}
    if record.manifest is None:
        if any(row["kind"] in _PASSING for row in record.refused):
            return
        saved |= {"source": _state_of(source), "version": __version__}
    with atomic_path(path, shared=True) as temporary:
        temporary.write_text(json.dumps(saved, indent=1), encoding="utf-8")


def read_record(path: Path, fingerprint: str, source: Path, store: Path) -> Record | None:
    """Return the record of a job that was finished or refused before, or None if it must run."""
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
        record = Record(**saved["record"])
    except (OSError, ValueError, KeyError, TypeError):  # absent, cut short, of another version
        return None
    if saved["fingerprint"] != fingerprint:
        return None
    if record.manifest is None:
        is_known = saved.get("version") == __version__ and saved.get("source") == _state_of(source)
        return record if is_known else None
    rows = [record.manifest, record.anatomy, *record.masks]
    return record if all(_is_whole(row, store) for row in rows if row) else None


def record_path(volume_id: str, store: Path) -> Path:
    """Return where the record of a volume is kept."""
    return store / "records" / f"{volume_id}.json"


def _is_whole(row: Row, store: Path) -> bool:
    """Return whether a file is there, as long as it was when it was written."""
    try:
        found = (store / row["path"]).stat().st_size
    except OSError:
        return False
    return found == row.get("bytes", found)


def _state_of(source: Path) -> list | None:
    """Return the path, and size and time of change of a file, or of all files below a folder."""
    try:
        files = sorted(source.rglob("*")) if source.is_dir() else [source]
        stats = [file.stat() for file in files]
        return [str(source), [[stat.st_size, stat.st_mtime_ns] for stat in stats]]
    except OSError:
        return None
