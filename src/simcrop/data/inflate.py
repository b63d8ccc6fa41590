"""Inflate a gzip file at once, by libdeflate into memory of NumPy's.

Most of the cost of preparing a .nii.gz is inflating it. CPU seconds of one thread for a CT of 157
MB, 80 MB compressed (`benchmarks/inflate.py`): libdeflate 0.26, ISA-L 0.41, zlib-ng 0.47,
SimpleITK 0.54, zlib 0.61, rapidgzip 0.67. Of the packages with libdeflate, imagecodecs alone writes
into an array; NumPy's are in large pages, and fresh small ones cost another 0.06 s.
"""

import mmap
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

# There are platforms without a wheel; SimpleITK inflates there.
imagecodecs = import_module("imagecodecs") if find_spec("imagecodecs") else None


def inflate(path: Path, num_bytes: int) -> UInt8[np.ndarray, " bytes"] | None:
    """Return what a gzip file holds, checked against its checksum.

    None where it is not one sound gzip member of just this size (damaged, or written in several),
    or without imagecodecs.
    """
    if imagecodecs is None:
        return None
    contents = np.empty(num_bytes, dtype=np.uint8)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = imagecodecs.gzip_decode(data, out=contents.data)
    except (ValueError, RuntimeError):
        return None
    return contents if len(found) == num_bytes else None
