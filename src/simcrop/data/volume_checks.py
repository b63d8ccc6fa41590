"""What a file must satisfy to be a CT volume in HU, and how its values become int16.

Each check answers one mistake met in practice; SimpleITK reads all of these without a word.
"""

import gzip
import logging
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from simcrop.errors import DataError, complain

log = logging.getLogger(__name__)

AIR_HU = -1024  # what lies outside a volume; no calibrated CT value is lower
_MIN_VOXELS = 8  # fewer along an axis is a localiser or a single slice, not a volume
_SPACING_LIMITS_MM = (0.05, 20.0)
_NIFTI_HEADER_BYTES = 348  # the first number of the file, and so the test of its byte order
_FLOAT_BYTES = {sitk.sitkFloat32: 4, sitk.sitkFloat64: 8}
_NOT_FINITE = "NaN or infinite values", "Convert the volume again from its source."


def check_nifti(reader: sitk.ImageFileReader, path: Path, *, needs_affine: bool = True) -> None:
    """Refuse a NIfTI without geometry, cut short, or with NaN; SimpleITK accepts all three.

    Raises:
        DataError: if the header has no affine, the file ends too early, or a value is not finite.
    """
    codes = {reader.GetMetaData("qform_code"), reader.GetMetaData("sform_code")}
    if needs_affine and codes == {"0"}:
        raise DataError(
            complain(
                f"{path}: qform_code and sform_code are 0, so nothing says where left is",
                "a header with an affine",
                "Convert the volume again from its source with orientation.",
            )
        )
    num_voxels = int(np.prod(reader.GetSize(), dtype=np.int64))
    offset = int(float(reader.GetMetaData("vox_offset")))
    expected = offset + num_voxels * int(reader.GetMetaData("bitpix")) // 8
    if path.suffix in (".nii", ".gz") and (found := _num_bytes(path, expected)) < expected:
        raise DataError(
            complain(
                f"{path}: truncated, {found} of {expected} bytes",
                "the whole file",
                "Copy it again.",
            )
        )
    if reader.GetPixelIDValue() in _FLOAT_BYTES and not _is_finite(path, offset, reader):
        found, remedy = _NOT_FINITE
        raise DataError(complain(f"{path}: {found}", "finite numbers", remedy))


def _is_finite(path: Path, offset: int, reader: sitk.ImageFileReader) -> bool:
    """Return whether no value of a NIfTI of floats is NaN or infinite.

    NIfTI's own library turns such values into 0, the HU of water, before SimpleITK sees them; so
    files of floats, which are few, are read once more.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        order = "<" if int.from_bytes(file.read(4), "little") == _NIFTI_HEADER_BYTES else ">"
        file.read(offset - 4)
        dtype = np.dtype(f"{order}f{_FLOAT_BYTES[reader.GetPixelIDValue()]}")
        while block := file.read(1 << 23):
            values = np.frombuffer(block[: len(block) // dtype.itemsize * dtype.itemsize], dtype)
            if not np.isfinite(values).all():
                return False
    return True


def _num_bytes(path: Path, expected: int) -> int:
    """Return the number of bytes in a file, or in what a .gz file holds.

    The last four bytes of a gzip file state its uncompressed size. Only where they disagree with
    `expected` (truncated, or written in several members) are the bytes counted.
    """
    if path.suffix != ".gz":
        return path.stat().st_size
    with path.open("rb") as file:
        file.seek(-4, 2)
        if int.from_bytes(file.read(4), "little") == expected % 2**32:
            return expected
    found = 0
    try:
        with gzip.open(path) as stream:
            while block := stream.read(1 << 20):
                found += len(block)
    except (EOFError, OSError, zlib.error):
        pass  # what could be read before the damage is what the file holds
    return found


def check_shape(image: sitk.Image, path: Path) -> None:
    """Refuse volumes too thin to be one, and voxel sizes no CT has.

    Raises:
        DataError: if an axis has too few voxels or a spacing is absurd.
    """
    if min(image.GetSize()) < _MIN_VOXELS:
        raise DataError(
            complain(
                f"{path}: {' x '.join(map(str, image.GetSize()))} voxels",
                f"at least {_MIN_VOXELS} along every axis",
                "This is a localiser or an incomplete volume; remove its row.",
            )
        )
    low, high = _SPACING_LIMITS_MM
    if not all(low <= mm <= high for mm in image.GetSpacing()):
        raise DataError(
            complain(
                f"{path}: voxels of {' x '.join(f'{mm:g}' for mm in image.GetSpacing())} mm",
                f"{low} to {high} mm along every axis",
                "The header is wrong; convert the volume again from its source.",
            )
        )


def as_hu(image: sitk.Image, path: Path) -> sitk.Image:
    """Return the image as int16 HU, padding below -1024 set to -1024, fractions rounded.

    Raises:
        DataError: if the values cannot be HU.
    """
    voxels = sitk.GetArrayViewFromImage(image)
    low, high = float(voxels.min()), float(voxels.max())
    if fault := _intensity_fault(low, high):
        found, remedy = fault
        raise DataError(complain(f"{path}: {found}", "a CT in HU, with air near -1000", remedy))
    if low < AIR_HU:
        share = float((voxels < AIR_HU).mean())
        log.info("%s: %.1f %% of the voxels lie below %d HU (padding outside the field of view); "
                 "set to %d", path, 100 * share, AIR_HU, AIR_HU)  # fmt: skip
    if voxels.dtype == np.int16 and low >= AIR_HU:
        return image
    if voxels.dtype.kind == "f":
        image = sitk.Round(image)
    return sitk.Clamp(image, sitk.sitkInt16, AIR_HU, float(np.iinfo(np.int16).max))


def _intensity_fault(low: float, high: float) -> tuple[str, str] | None:
    """Return what is wrong with a range of values and what to do, or None if it can be HU."""
    span = f"values from {low:g} to {high:g}"
    if not np.isfinite([low, high]).all():
        return _NOT_FINITE
    if low == high:
        return f"every voxel is {low:g}", "The volume is empty; remove its row."
    if low >= 0 and high <= 255:
        return f"{span}, looks like 8-bit", "Use the original HU; a windowed copy cannot go back."
    if low > -200:
        return f"{span}, no air", "Apply rescale slope and intercept first; if MR, remove its row."
    if high > np.iinfo(np.int16).max:
        return f"{span}, too large for HU", "Convert the volume again from its source."
    return None
