"""The pixels of a DICOM series: straight out of the files where they are plain, else by GDCM."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Int16

from simcrop.data.dicom_headers import PlainPixels, Slice
from simcrop.data.stack import Stack


def read_pixels(slices: Sequence[Slice]) -> Stack:
    """Return the slices one above the other in HU, with the geometry that GDCM gives a series.

    Args:
        slices: of one size, in the order of their place.
    """
    voxels = _read_plain(slices)
    if voxels is None:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames([str(one.path) for one in slices])
        reader.LoadPrivateTagsOff()
        return Stack.of(reader.Execute())
    first, last = slices[0], slices[-1]
    along_row, along_column = first.orientation[:3], first.orientation[3:]
    axes = np.stack([along_row, along_column, np.cross(along_row, along_column)], axis=1)
    length = float(np.linalg.norm(last.position - first.position))
    row_mm, column_mm = first.exact_spacing
    spacing = (column_mm, row_mm, length / (len(slices) - 1))
    return Stack(voxels, spacing, axes.ravel().tolist(), first.position.tolist())


def _read_plain(slices: Sequence[Slice]) -> Int16[np.ndarray, "z y x"] | None:
    """Return the voxels in HU, or None if a slice needs a decoder or leaves the range of int16."""
    voxels = np.empty((len(slices), *slices[0].shape), dtype=np.int16)
    for plane, one in zip(voxels, slices, strict=True):
        if one.pixels is None or len(one.exact_spacing) != 2:
            return None
        if not _read_plane(plane, one.path, one.pixels):
            return None
    return voxels


def _read_plane(plane: Int16[np.ndarray, "y x"], path: Path, pixels: PlainPixels) -> bool:
    """Read one slice into its place, in HU; return whether that was possible."""
    with path.open("rb") as file:
        file.seek(pixels.offset)
        if file.readinto(plane.data) != plane.nbytes:
            return False
    bits = plane.view(np.uint16)
    numbers = plane if pixels.is_signed else bits
    low, high = int(numbers.min()), int(numbers.max())
    has_other_bits = not pixels.is_signed and high >= 1 << pixels.bits
    if has_other_bits or not _fits(low + pixels.intercept) or not _fits(high + pixels.intercept):
        return False
    if pixels.intercept:
        bits += np.uint16(pixels.intercept % (1 << 16))  # as int16 it comes out right
    return True


def _fits(hu: int) -> bool:
    return np.iinfo(np.int16).min <= hu <= np.iinfo(np.int16).max
