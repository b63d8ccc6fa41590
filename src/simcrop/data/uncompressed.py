"""Volumes of a store once more, uncompressed and mapped into memory: for a fast local disk.

Inflating a volume costs some twenty times as much as reading it plain; a crop of a mapped file
reads only the pages it touches. Each file is written when its volume is first read: 128 bytes of
affine (16 float64), then the int16 voxels, z fastest, as crops have them. Several processes may
share the folder.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int16

from simcrop.data.atomic import atomic_path
from simcrop.geometry import Shape3

_HEADER_BYTES = 128
Voxels = Int16[np.ndarray, "x y z"]
Affine = Float[np.ndarray, "4 4"]


def copy_path(folder: Path, row: Mapping[str, Any], contract_hash: str) -> Path:
    """Return where the uncompressed copy of a volume is, or will be.

    Args:
        folder: of the copies; those of several stores may share it.
        row: of the manifest; whatever changes in it gives another file.
        contract_hash: of what is stored.
    """
    name = json.dumps([contract_hash, {k: str(v) for k, v in sorted(row.items())}])
    return folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.hu"


def read_uncompressed(
    path: Path, shape: Shape3, read: Callable[[], tuple]
) -> tuple[Voxels, Affine]:
    """Return a volume from its uncompressed file, written by this call if it is not there.

    Args:
        path: see `copy_path`.
        shape: of the volume.
        read: gives voxels and affine of the volume.
    """
    nx, ny, nz = shape
    if not path.exists() or path.stat().st_size != _HEADER_BYTES + 2 * nx * ny * nz:
        hu, affine = read()
        with atomic_path(path, shared=True) as temporary, temporary.open("wb") as file:
            file.write(np.ascontiguousarray(affine, dtype=np.float64).tobytes())
            file.write(np.ascontiguousarray(hu).data)
    mapped = np.memmap(path, dtype=np.uint8, mode="r")
    affine = mapped[:_HEADER_BYTES].view(np.float64).reshape(4, 4).copy()
    return mapped[_HEADER_BYTES:].view(np.int16).reshape(shape), affine
