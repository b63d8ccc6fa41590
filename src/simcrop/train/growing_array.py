"""An array file that grows row by row, so that what is cached need not fit into memory."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from simcrop.data.atomic import atomic_path


class GrowingArray:
    """A `.npy` file of float16 rows; made by `growing_array`."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._shape: tuple[int, ...] | None = None

    def append(self, rows: np.ndarray) -> None:
        """Write some rows, all of one shape."""
        if self._shape is None:
            self._shape = (0, *rows.shape[1:])
            self._write_header()
        self._file.write(np.ascontiguousarray(rows, dtype="<f2").tobytes())
        self._shape = (self._shape[0] + len(rows), *self._shape[1:])

    def finish(self) -> None:
        """Put the number of rows into the header, which numpy keeps room for."""
        if self._shape is not None:
            self._file.seek(0)
            self._write_header()

    def _write_header(self) -> None:
        header = {"descr": "<f2", "fortran_order": False, "shape": self._shape}
        np.lib.format.write_array_header_1_0(self._file, header)


@contextmanager
def growing_array(path: Path) -> Generator[GrowingArray]:
    """Yield an array to append to; the file is there when the block has ended without an error."""
    with atomic_path(path) as unfinished, unfinished.open("wb") as file:
        array = GrowingArray(file)
        yield array
        array.finish()
