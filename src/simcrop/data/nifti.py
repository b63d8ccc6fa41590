"""The voxels of a plain NIfTI file without SimpleITK, which reads its header and all others.

A .nii is mapped into memory, so that only what is used is read; a .nii.gz is inflated at once.
"""

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Int16

from simcrop.data.inflate import inflate

_INT16 = "4"  # NIfTI's number of the type
_HEADER_BYTES = 348  # the first number of a file, and so the test of its byte order


def read_nifti(reader: sitk.ImageFileReader, path: Path) -> Int16[np.ndarray, "z y x"] | None:
    """Return the voxels as they lie in a file, writable, or None if SimpleITK must read it.

    That is any file but one of little-endian int16 without slope and intercept.

    Args:
        reader: has read and checked the header.
        path: of the file.
    """
    if path.suffix not in (".nii", ".gz") or not reader.HasMetaDataKey("scl_slope"):
        return None
    kind, slope, inter, start = (
        reader.GetMetaData(key) for key in ("datatype", "scl_slope", "scl_inter", "vox_offset")
    )
    if kind != _INT16 or float(slope) not in (0.0, 1.0) or float(inter) != 0:
        return None
    x, y, z = reader.GetSize()
    offset, num_bytes = int(float(start)), 2 * math.prod((x, y, z))
    if path.suffix == ".gz":
        contents = inflate(path, offset + num_bytes)
    else:
        contents = np.memmap(path, dtype=np.uint8, mode="c")
    if contents is None or int(contents[:4].view("<i4")[0]) != _HEADER_BYTES:
        return None
    return contents[offset : offset + num_bytes].view("<i2").reshape(z, y, x)
