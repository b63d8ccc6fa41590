"""Volumes without geometry: arrays in .npz files and folders of 8-bit slices.

They are read in the order in which they lie on disk; voxel size and orientation come from a
`StatedHeader`.
"""

import re
import zipfile
import zlib
from pathlib import Path
from tokenize import TokenError

import numpy as np
import SimpleITK as sitk  # noqa: N813

from simcrop.errors import DataError, complain

# what NumPy and zipfile raise on damaged files, found by changing thousands at random
_DAMAGED = (
    OSError, ValueError, TypeError, KeyError, EOFError, SyntaxError, NotImplementedError,
    MemoryError, TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
PICTURES = {".png", ".jpg", ".jpeg", ".bmp"}


def is_slice_folder(folder: Path) -> bool:
    """Return whether a folder holds pictures, one per slice."""
    return any(path.suffix.lower() in PICTURES for path in folder.iterdir())


def read_npz(path: Path) -> sitk.Image:
    """Read the one 3-D array of a .npz file, or the one named `ct`: slices, rows, columns.

    Raises:
        DataError: if the file is damaged or holds no such array.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            names = list(arrays)
            name = "ct" if "ct" in names else names[0] if len(names) == 1 else None
            voxels = arrays[name] if name is not None else np.empty(0)
    except _DAMAGED as error:
        raise DataError(
            complain(f"{path}: not readable as .npz", "a complete file", "Download it again."),
            kind="truncated",
        ) from error
    if voxels.ndim != 3 or voxels.dtype.kind not in "iuf":
        raise DataError(
            complain(
                f"{path}: arrays {', '.join(names)}, {voxels.ndim} axes of {voxels.dtype}",
                "one array of numbers with 3 axes, or one that is named ct",
                "Download it again, or convert it to NIfTI.",
            ),
            kind="colour",
        )
    if voxels.dtype not in (np.int16, np.uint8, np.float32):
        voxels = voxels.astype(np.float32)
    return sitk.GetImageFromArray(voxels)


def read_slices(folder: Path) -> sitk.Image:
    """Read a folder of pictures as a volume; the numbers in their names give the order.

    Raises:
        DataError: if sizes differ, a picture is in colour, or a number is missing or doubled.
    """
    paths = [path for path in folder.iterdir() if path.suffix.lower() in PICTURES]
    numbers = {path: _number(path) for path in paths}
    ordered = sorted(paths, key=lambda path: numbers[path])
    found = [numbers[path] for path in ordered]
    if found != list(range(found[0], found[0] + len(found))):
        raise DataError(
            complain(
                f"{folder}: {len(found)} slices numbered {found[0]} to {found[-1]}",
                "every number once",
                "Unpack the set again, or remove its row.",
            ),
            kind="missing_slices",
        )
    slices = [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in ordered]
    slices = [_as_grey(picture) for picture in slices]
    if len({picture.shape for picture in slices}) > 1 or slices[0].ndim != 2:
        raise DataError(
            complain(
                f"{folder}: slices of different size or in colour",
                "grey slices of one size",
                "This is not one series; remove its row.",
            ),
            kind="mixed_series",
        )
    return sitk.GetImageFromArray(np.stack(slices))


def _number(path: Path) -> int:
    digits = re.findall(r"\d+", path.stem)
    return int(digits[-1]) if digits else -1


def _as_grey(picture: np.ndarray) -> np.ndarray:
    """Return one channel of a picture that is grey but stored with three."""
    is_grey = picture.ndim == 3 and all(
        np.array_equal(picture[..., 0], picture[..., channel]) for channel in (1, 2)
    )
    return picture[..., 0] if is_grey else picture
