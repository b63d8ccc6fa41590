"""A result folder: the one form in which every downstream command leaves its figures.

    FOLDER/results.json     figures with intervals, sets by hash, contract hash, versions, seeds
    FOLDER/table.md         the same for people
    FOLDER/NAME.png         pictures
    FOLDER/items/NAME.csv   what was measured of every item, for `simcrop compare`

`results.json` is written last: a folder that has one is whole.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from simcrop.data.atomic import atomic_path
from simcrop.data.splits import hash_of
from simcrop.errors import DataError, complain
from simcrop.evaluate.items import Items, read_items, write_items
from simcrop.evaluate.tables import Table

RESULTS_FILE = "results.json"
SELECTED_ON_TEST = "selected on test"


@dataclass(frozen=True)
class NamedSet:
    """A set of studies, volumes or sentences by its hash, so that a figure names its set."""

    hash: str
    size: int

    @classmethod
    def of(cls, ids: Iterable[str]) -> "NamedSet":
        """Return the name of a set; the order of the ids does not matter."""
        distinct = set(ids)
        return cls(hash_of(distinct), len(distinct))


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure and the line under it, which says how to read it."""

    figure: Figure
    caption: str


@dataclass(frozen=True, eq=False)
class Result:
    """What a command measured; everything but tables and drawings can be read back.

    Attributes:
        command: as `simcrop probe`, without the program's name.
        figures: plain values by name, nested as wanted: `Interval.to_dict()` and the like.
        sets: the studies behind the figures: `train`, `val`, `test`, a pool's name.
        contract_hash: of the preprocessing contract.
        seeds: every seed that had a say.
        versions: `simcrop.train.checkpoint.versions()`.
        settings: what was asked for: fraction, feature, head, ...
        note: what nobody may overlook, as `SELECTED_ON_TEST`; it stands in every rendering.
        items: the first of a measure is the one that `simcrop compare` takes.
        tables: by their caption.
        drawings: by the name of their file, without `.png`.
    """

    command: str
    figures: Mapping[str, Any]
    sets: Mapping[str, NamedSet]
    contract_hash: str
    seeds: tuple[int, ...]
    versions: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    items: tuple[Items, ...] = ()
    tables: Mapping[str, Table] = field(default_factory=dict)
    drawings: Mapping[str, Drawing] = field(default_factory=dict)


def write_result(result: Result, folder: Path) -> Path:
    """Write a result folder and return the path of its `results.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RESULTS_FILE
    path.unlink(missing_ok=True)  # from here on the folder is not whole
    files = [f"items/{_file_name(items)}.csv" for items in result.items]
    if len(set(files)) < len(files):
        raise ValueError(f"items {sorted(files)}: a model has a measure twice")
    for items, name in zip(result.items, files, strict=True):
        write_items(items, folder / name)
    for name, drawing in result.drawings.items():
        with atomic_path(folder / f"{name}.png") as unfinished:
            drawing.figure.savefig(unfinished, dpi=144, metadata={"Software": None})
    _write_text(folder / "table.md", markdown(result))
    _write_text(path, json.dumps(_described(result, files), indent=2, allow_nan=False) + "\n")
    return path


def markdown(result: Result) -> str:
    """Return the tables under their captions, the note first."""
    note = f"**{result.note}**\n\n" if result.note else ""
    tables = [f"{caption}\n\n{table.markdown()}" for caption, table in result.tables.items()]
    return note + "\n".join(tables)


def read_result(folder: Path) -> Result:
    """Return the result of a folder without its tables and drawings.

    Raises:
        DataError: if the folder holds no result, or one that is not whole.
    """
    path = folder / RESULTS_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        stored = values.pop("items")
        values["sets"] = {name: NamedSet(**one) for name, one in values["sets"].items()}
        result = Result(**values | {"seeds": tuple(values["seeds"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            complain(
                f"{path}: no readable result ({type(error).__name__}: {error})",
                "the folder that a command like `simcrop probe` wrote to its end",
                "Check the path, or run the command again.",
            )
        ) from error
    items = tuple(
        read_items(folder / one["file"], one["model"], one["measure"],
                   higher_is_better=one["higher_is_better"])
        for one in stored
    )  # fmt: skip
    return replace(result, items=items)


def _described(result: Result, files: list[str]) -> dict[str, Any]:
    items = [
        {"model": one.model, "measure": one.measure, "higher_is_better": one.higher_is_better,
         "set": one.hash, "file": name}
        for one, name in zip(result.items, files, strict=True)
    ]  # fmt: skip
    described = {
        "command": result.command,
        "note": result.note,
        "figures": result.figures,
        "sets": {name: asdict(one) for name, one in result.sets.items()},
        "settings": result.settings,
        "seeds": result.seeds,
        "contract_hash": result.contract_hash,
        "versions": result.versions,
        "items": items,
    }
    return {name: _plain(value) for name, value in described.items()}


def _plain(value: Any) -> Any:
    """Return values as JSON has them; nan, which it does not know, becomes null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _file_name(items: Items) -> str:
    return re.sub(r"[^\w.-]+", "_", f"{items.measure}-{items.model}")


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
