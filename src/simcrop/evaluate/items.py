"""What was measured of every study, volume or sentence, kept so that two runs can be compared.

One table per model and measure: a row per item, a column per label (or class). Without `truth` a
value is the measure itself (a Dice, a pointing hit) and a figure is the mean of a column; with it,
values are scores of 0/1 labels and the figure is their AUROC. nan is an item that has no value for
a label, as a sentence has for every label but its own.

    item_id, patient_id, LABEL, LABEL, ..., truth:LABEL, truth:LABEL, ...
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float, Shaped

from simcrop.data.atomic import atomic_path
from simcrop.data.splits import hash_of
from simcrop.errors import DataError, complain
from simcrop.evaluate.levels import Support

_TRUTH = "truth:"
_IDS = ("item_id", "patient_id")


@dataclass(frozen=True, eq=False)
class Items:
    """The values of one model, item by item.

    Attributes:
        model: whose values they are, as a table's column names it.
        measure: `auroc`, `dice`, `hit`, ...; of several models the same word means the same.
        item_ids: studies, volumes, sentences; each once.
        patient_ids: of the items; intervals draw patients.
        names: of the columns.
        values: nan where an item has none.
        truth: 0 or 1 where the values are scores, else None.
        higher_is_better: False for distances.
    """

    model: str
    measure: str
    item_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    names: tuple[str, ...]
    values: Float[np.ndarray, "items labels"]
    truth: Shaped[np.ndarray, "items labels"] | None = None
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        shape = (len(self.item_ids), len(self.names))
        for table in (self.values, self.truth):
            if table is not None and table.shape != shape:
                raise ValueError(f"values of shape {table.shape}; expected {shape}")
        if len(self.patient_ids) != len(self.item_ids):
            raise ValueError(f"{len(self.patient_ids)} patients of {len(self.item_ids)} items")
        if len(set(self.item_ids)) < len(self.item_ids):
            raise ValueError("item ids occur twice; expected a name for each item")

    @property
    def hash(self) -> str:
        """Names the set of items; values of two models are paired only where it is the same."""
        return hash_of(self.item_ids)

    @property
    def support(self) -> Support:
        """What the figures of the labels hang on."""
        if self.truth is not None:
            return Support.of_classes(self.truth, self.patient_ids)
        return Support.of_values(~np.isnan(self.values), self.patient_ids)


def items_of_groups(
    model: str,
    measure: str,
    item_ids: Sequence[str],
    patient_ids: Sequence[str],
    groups: Sequence[str],
    values: Float[np.ndarray, " items"],
    *,
    higher_is_better: bool = True,
) -> Items:
    """Return items that have one value each, for the one label they belong to; see `Items`."""
    names = tuple(dict.fromkeys(groups))
    is_own = np.asarray(groups)[:, None] == np.asarray(names)
    table = np.where(is_own, values[:, None], np.nan)
    return Items(
        model, measure, tuple(item_ids), tuple(patient_ids), names, table,
        higher_is_better=higher_is_better,
    )  # fmt: skip


def write_items(items: Items, path: Path) -> None:
    """Write the table; figures keep all their digits."""
    columns: dict[str, Sequence[object]] = dict(
        zip(_IDS, (items.item_ids, items.patient_ids), strict=True)
    )
    columns |= dict(zip(items.names, items.values.T, strict=True))
    if items.truth is not None:
        truth = items.truth.astype(int).T
        columns |= dict(zip([_TRUTH + name for name in items.names], truth, strict=True))
    with atomic_path(path) as unfinished:
        pd.DataFrame(columns).to_csv(unfinished, index=False, lineterminator="\n")


def read_items(path: Path, model: str, measure: str, *, higher_is_better: bool) -> Items:
    """Return what `write_items` wrote.

    Raises:
        DataError: if the file is missing or is no such table.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        ids = [tuple(table[column]) for column in _IDS]
        names = [n for n in table.columns if n not in _IDS and not n.startswith(_TRUTH)]
        truth_names = [_TRUTH + name for name in names if _TRUTH + name in table]
        values = table[names].replace("", "nan").to_numpy(dtype=float)
        truth = table[truth_names].to_numpy(dtype=np.int64) if truth_names else None
        return Items(model, measure, ids[0], ids[1], tuple(names), values, truth, higher_is_better)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(
            complain(
                f"{path}: no readable table of values ({error})",
                "the file that this package wrote beside results.json",
                "Run the command that made the folder again.",
            )
        ) from error
