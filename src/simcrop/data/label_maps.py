"""The classes of label maps: names, values in files, and which are each other's mirror image."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer, Num, UInt8

from simcrop.errors import DataError, complain

_SIDES = {"left": "right", "right": "left"}
_UNNAMED = 255
_BACKGROUND = 0


@dataclass(frozen=True)
class Classes:
    """The classes of label maps: their names, and the value each has in a file.

    Attributes:
        names: of the classes, background first.
        values: in the same order.

    Raises:
        DataError: if background is missing, a value does not fit in 8 bits, or there is no class
            besides background.
    """

    names: tuple[str, ...]
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        is_usable = self.values[:1] == (_BACKGROUND,) and len(set(self.values)) == len(self.names)
        if not is_usable or len(self.names) < 2 or max(self.values) >= _UNNAMED:
            raise DataError(
                complain(
                    f"{len(self.values)} classes, with the values {str(self.values[:8])[1:-1]}",
                    f"0 for background and other values below {_UNNAMED}, each once",
                    "See anatomy_names.csv of the archive; anatomy.csv may renumber its values.",
                ),
                "unknown_label",
            )

    @classmethod
    def of(cls, names: Mapping[int, str]) -> "Classes":
        """Return the classes of a store's `anatomy_names`; background need not be named."""
        ordered = dict(sorted(({_BACKGROUND: "background"} | dict(names)).items()))
        return cls(tuple(ordered.values()), tuple(ordered))

    def __len__(self) -> int:
        return len(self.names)

    def index(self, labels: Num[np.ndarray, "x y z"], name: str) -> UInt8[np.ndarray, "x y z"]:
        """Return the class of every voxel, 0 to C - 1, from the values of a file.

        Some label maps are files of whole floating-point numbers.

        Raises:
            DataError: if a voxel has a value that no class has.
        """
        table = np.full(_UNNAMED + 1, _UNNAMED, dtype=np.uint8)
        table[list(self.values)] = np.arange(len(self))
        whole = labels if labels.dtype.kind in "iu" else np.round(labels).astype(np.int32)
        classes = table[np.clip(whole, 0, _UNNAMED)]
        is_unnamed = (classes == _UNNAMED) | (labels < 0)
        if whole is not labels:
            is_unnamed |= whole != labels
        if is_unnamed.any():
            raise DataError(
                complain(
                    f"{name}: labels of value {labels[is_unnamed][0]}",
                    f"only {', '.join(map(str, self.values))}",
                    "Name the value in anatomy_names.csv, or renumber it in anatomy.csv.",
                ),
                "unknown_label",
            )
        return classes

    def value_of(self, classes: Integer[np.ndarray, "x y z"]) -> UInt8[np.ndarray, "x y z"]:
        """Return the values of a file from classes, the inverse of `index`."""
        return np.array(self.values, dtype=np.uint8)[classes]

    @property
    def mirrored(self) -> tuple[int, ...] | None:
        """The class that each becomes when left and right are exchanged.

        None where a class has a side and there is no class of the other side.
        """
        number = {name.lower(): i for i, name in enumerate(self.names)}
        swapped = [
            number.get(re.sub(r"\b(left|right)\b", lambda side: _SIDES[side[0]], name))
            for name in number
        ]
        return None if None in swapped else tuple(i for i in swapped if i is not None)
