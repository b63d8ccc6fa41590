"""The voxels of a plain NIfTI file without SimpleITK, which reads its header and all others.

A .nii is mapped into memory, so that only what is used is read; a .nii.gz is inflated at once.
"""

import math
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Float, Int16, UInt8

from simcrop.data.inflate import inflate
from simcrop.data.stack import Stack

_INT16 = "4"  # NIfTI's number of the type
_HEADER_BYTES = 348  # the first number of a file, and so the test of its byte order
_STORED = np.dtype(
    {
        "names": ["sizeof_hdr", "dim", "datatype", "vox_offset", "scl_slope", "scl_inter",
                  "sform_code", "srow"],
        "formats": ["<i4", ("<i2", 8), "<i2", "<f4", "<f4", "<f4", "<i2", ("<f4", (3, 4))],
        "offsets": [0, 40, 70, 108, 112, 116, 254, 280],
        "itemsize": _HEADER_BYTES,
    }
)  # fmt: skip


def read_stored(path: Path) -> tuple[Int16[np.ndarray, "x y z"], Float[np.ndarray, "4 4"]]:
    """Return voxels and affine of a volume in the form in which `write_volume` writes int16.

    Its header is looked at here: SimpleITK takes longer for that than for mapping the voxels.

    Raises:
        RuntimeError: if the file is not readable.
        ValueError: if its header is not that of its length; other errors where it makes no sense.
    """
    contents = _contents(path, _inflated_size(path) if path.suffix == ".gz" else 0)
    header = None if contents is None else contents[:_HEADER_BYTES].view(_STORED)[0]
    if contents is None or header is None or not _is_plain(header):
        stack = Stack.of(sitk.ReadImage(str(path)))
        return stack.voxels.astype(np.int16, copy=False).T, stack.affine
    x, y, z = header["dim"][1:4].tolist()
    start = int(header["vox_offset"])
    if start + 2 * x * y * z != len(contents):
        raise ValueError(f"{len(contents)} bytes, {start + 2 * x * y * z} by its header")
    voxels = contents[start:].view("<i2").reshape(z, y, x)
    return voxels.T, np.vstack([header["srow"], (0, 0, 0, 1)]) + 0.0  # no negative zeros


def _is_plain(header: np.void) -> bool:
    """Return whether a header is of little-endian int16 without slope, with an affine."""
    return bool(
        header["sizeof_hdr"] == _HEADER_BYTES
        and header["dim"][0] == 3
        and header["datatype"] == int(_INT16)
        and header["scl_slope"] in (0, 1)
        and header["scl_inter"] == 0
        and header["sform_code"] > 0
    )


def _inflated_size(path: Path) -> int:
    with path.open("rb") as file:
        file.seek(-4, 2)
        return int.from_bytes(file.read(4), "little")


def _contents(path: Path, num_bytes: int) -> UInt8[np.ndarray, " bytes"] | None:
    """Return what a file holds, mapped, or inflated to so many bytes; None if that fails."""
    if path.suffix == ".gz":
        return inflate(path, num_bytes)
    return np.memmap(path, dtype=np.uint8, mode="c").view(np.ndarray)


def stack_of(reader: sitk.ImageFileReader, voxels: Int16[np.ndarray, "z y x"] | None) -> Stack:
    """Return voxels with the geometry of their header; None lets SimpleITK read them."""
    if voxels is None:
        return Stack.of(reader.Execute())
    return Stack(voxels, reader.GetSpacing(), reader.GetDirection(), reader.GetOrigin())


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
    contents = _contents(path, offset + num_bytes)
    if contents is None or int(contents[:4].view("<i4")[0]) != _HEADER_BYTES:
        return None
    return contents[offset : offset + num_bytes].view("<i2").reshape(z, y, x)
