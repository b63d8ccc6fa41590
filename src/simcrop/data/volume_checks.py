"""What a file must satisfy to be a CT volume in HU, and how its values become int16.

Each check answers one mistake met in practice; SimpleITK reads all of these without a word.
"""

import gzip
import logging
import math
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from simcrop.data.stack import Stack
from simcrop.errors import DataError, complain

log = logging.getLogger(__name__)

AIR_HU = -1024  # what lies outside a volume; no calibrated CT value is lower
_MIN_VOXELS = 8  # fewer along an axis is a localiser or a single slice, not a volume
_SPACING_LIMITS_MM = (0.05, 20.0)
_NIFTI_HEADER_BYTES = 348  # the first number of the file, and so the test of its byte order
_FLOAT_BYTES = {sitk.sitkFloat32: 4, sitk.sitkFloat64: 8}
_MAGIC = (b"\x1f\x8b", b"NRRD", b"ObjectType", b"NDims", b"PK", b"\x5c\x01\x00\x00")  # of formats
_DICOM_MAGIC = 128  # bytes before the letters DICM
_HEADER_BYTES = 1 << 16
_MAX_VOXELS = 1 << 32  # 8 GiB as int16; the largest CT of a whole body has a quarter of that
_MAX_RATIO = 1100  # voxels per byte of a file; deflate cannot shrink further
_FEW_TISSUE, _MUCH_BELOW_AIR = 0.03, 0.15
_RESCALE = "Apply rescale slope and intercept first; if MR, remove its row."
_NOT_FINITE = "NaN or infinite values", "Convert the volume again from its source."


def kind_of_unreadable(path: Path) -> str:
    """Return the kind of fault of a file that cannot be read: damaged, or never a volume."""
    if path.is_dir():
        return "truncated"
    with path.open("rb") as file:
        start = file.read(_DICOM_MAGIC + 4)
    is_known = start.startswith(_MAGIC) or start[_DICOM_MAGIC:] == b"DICM"
    return "truncated" if is_known or not start else "not_an_image"


def check_header(reader: sitk.ImageFileReader, path: Path, *, needs_affine: bool = True) -> None:
    """Refuse by its header a file that is no 3-D scalar volume, has no geometry or is cut short.

    SimpleITK reads some of these without a word, and asks for the memory that a damaged header
    names.

    Raises:
        DataError: in those cases, and if a NIfTI of floats holds NaN.
    """
    axes, values = reader.GetDimension(), reader.GetNumberOfComponents()
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if axes != 3 or values != 1 or "complex" in kind:
        raise DataError(
            complain(
                f"{path}: {axes} axes and {values} values per voxel ({kind})",
                "3 axes and 1 real value per voxel",
                "Store one time point or channel per file, in HU.",
            ),
            "four_axes" if values == 1 and axes != 3 else "colour",
        )
    is_nifti = reader.HasMetaDataKey("qform_code")
    if needs_affine and not _has_affine(reader, path, is_nifti):
        raise DataError(
            complain(
                f"{path}: no affine in its header, so nothing says where left is",
                "voxel size and orientation",
                "Convert the volume again from its source with orientation.",
            ),
            "no_affine",
        )
    _check_size(reader, path)
    if is_nifti:
        _check_nifti(reader, path)


def _has_affine(reader: sitk.ImageFileReader, path: Path, is_nifti: bool) -> bool:
    """Return whether the header states orientation and voxel size, in its format's own words."""
    if is_nifti:
        return {reader.GetMetaData("qform_code"), reader.GetMetaData("sform_code")} != {"0"}
    words = {".nrrd": (b"space directions:",), ".nhdr": (b"space directions:",),
             ".mha": (b"ElementSpacing", b"ElementSize"),
             ".mhd": (b"ElementSpacing", b"ElementSize")}  # fmt: skip
    if path.suffix.lower() not in words:
        return True
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    return any(word in header for word in words[path.suffix.lower()])


def _check_size(reader: sitk.ImageFileReader, path: Path) -> None:
    """Refuse a header that names more voxels than its file can hold, however well compressed."""
    num_voxels, num_bytes = math.prod(reader.GetSize()), path.stat().st_size
    if num_voxels > _MAX_RATIO * num_bytes:  # then its voxels may be in files beside it
        name = path.stem.split(".")[0]
        beside = [file for file in path.parent.iterdir() if file.stem.startswith(name)]
        num_bytes = sum(file.stat().st_size for file in {path, *beside} if file.is_file())
    if num_voxels > _MAX_VOXELS or num_voxels > _MAX_RATIO * num_bytes:
        raise DataError(
            complain(
                f"{path}: a header of {' x '.join(map(str, reader.GetSize()))} voxels on "
                f"{num_bytes} bytes",
                "a file that holds its voxels",
                "Copy it again.",
            ),
            "truncated",
        )


def _check_nifti(reader: sitk.ImageFileReader, path: Path) -> None:
    """Refuse a NIfTI that is cut short or holds NaN."""
    num_voxels = math.prod(reader.GetSize())
    offset = int(float(reader.GetMetaData("vox_offset")))
    expected = offset + num_voxels * int(reader.GetMetaData("bitpix")) // 8
    if path.suffix in (".nii", ".gz") and (found := num_bytes(path, expected)) < expected:
        raise DataError(
            complain(
                f"{path}: truncated, {found} of {expected} bytes",
                "the whole file",
                "Copy it again.",
            ),
            "truncated",
        )
    if reader.GetPixelIDValue() in _FLOAT_BYTES and not _is_finite(path, offset, reader):
        found, remedy = _NOT_FINITE
        raise DataError(complain(f"{path}: {found}", "finite numbers", remedy), "not_finite")


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


def num_bytes(path: Path, expected: int) -> int:
    """Return the number of bytes in a file, or in what a .gz file holds.

    The last four bytes of a gzip file state its uncompressed size. Only where they disagree with
    `expected` (truncated, or written in several members) are the bytes counted.
    """
    if path.suffix != ".gz":
        return path.stat().st_size
    if path.stat().st_size < 4:
        return 0
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


def check_shape(stack: Stack, path: Path) -> None:
    """Refuse volumes too thin to be one, and voxel sizes no CT has.

    Raises:
        DataError: if an axis has too few voxels or a spacing is absurd.
    """
    size = stack.voxels.shape[::-1]
    if min(size) < _MIN_VOXELS:
        raise DataError(
            complain(
                f"{path}: {' x '.join(map(str, size))} voxels",
                f"at least {_MIN_VOXELS} along every axis",
                "This is a localiser or an incomplete volume; remove its row.",
            ),
            "too_few_slices",
        )
    low, high = _SPACING_LIMITS_MM
    if not all(low <= mm <= high for mm in stack.spacing_mm):
        raise DataError(
            complain(
                f"{path}: voxels of {' x '.join(f'{mm:g}' for mm in stack.spacing_mm)} mm",
                f"{low} to {high} mm along every axis",
                "The header is wrong; convert the volume again from its source.",
            ),
            "bad_spacing",
        )


def as_hu(stack: Stack, path: Path, *, any_integer: bool = False) -> Stack:
    """Return the stack as int16 HU, padding below -1024 set to -1024, fractions rounded.

    Args:
        stack: as read; voxels of its own are changed in place.
        path: for the message.
        any_integer: leave integers of another width as they are where no value must change; GDCM
            gives int32, and who resamples to floats next need not pay for a narrower copy.

    Raises:
        DataError: if the values cannot be HU.
    """
    voxels = stack.voxels
    low, high = float(voxels.min()), float(voxels.max())
    if fault := _range_fault(low, high) or _scale_fault(voxels, low):
        kind, found, remedy = fault
        raise DataError(
            complain(f"{path}: {found}", "a CT in HU, with air near -1000", remedy), kind
        )
    if low < AIR_HU:
        share = float((voxels < AIR_HU).mean())
        log.info("%s: %.1f %% of the voxels lie below %d HU (padding outside the field of view); "
                 "set to %d", path, 100 * share, AIR_HU, AIR_HU)  # fmt: skip
    is_done = voxels.dtype == np.int16 or (any_integer and voxels.dtype.kind in "iu")
    if is_done and low >= AIR_HU:
        return stack
    if stack.image is None:
        return replace(stack, voxels=np.maximum(voxels, AIR_HU, out=voxels))
    image = sitk.Round(stack.image) if voxels.dtype.kind == "f" else stack.image
    image = sitk.Clamp(image, sitk.sitkInt16, AIR_HU, float(np.iinfo(np.int16).max))
    return replace(stack, voxels=Stack.of(image).voxels, image=image)


def _range_fault(low: float, high: float) -> tuple[str, str, str] | None:
    """Return kind, finding and remedy for a range of values that no CT has, or None."""
    span = f"values from {low:g} to {high:g}"
    if not np.isfinite([low, high]).all():
        return "not_finite", *_NOT_FINITE
    if low == high:
        return "constant", f"every voxel is {low:g}", "The volume is empty; remove its row."
    if low >= 0 and high <= 255:
        remedy = "Use the original HU; a windowed copy cannot go back."
        return "eight_bit", f"{span}, looks like 8-bit", remedy
    if low > -200:
        return "not_rescaled", f"{span}, no air", _RESCALE
    if high > np.iinfo(np.int16).max:
        remedy = "Convert the volume again from its source."
        return "too_large", f"{span}, too large for HU", remedy
    return None


def _scale_fault(voxels: np.ndarray, low: float) -> tuple[str, str, str] | None:
    """Return kind, finding and remedy for values on a scale other than HU, or None.

    Judged on some sixty voxels along each axis. Of seven real CTs, whole and cropped, between 34
    and 67 % of the voxels lie above -500 HU and at most 23 % (padding) below -1500; with the
    intercept of -1024 applied twice it is at most 0.5 % and at least 34 %.
    """
    some = voxels[tuple(slice(None, None, max(1, n // 60)) for n in voxels.shape)]
    if (some > -500).mean() < _FEW_TISSUE and (some < -1500).mean() > _MUCH_BELOW_AIR:
        found = (
            f"{100 * (some < -1500).mean():.0f} % of the voxels below -1500, hardly any above -500"
        )
        return "rescaled_twice", found, "The intercept was applied twice; add it back once."
    if not ((some > low) & (some < -200)).any():
        return "not_rescaled", f"padding of {low:g}, and no air besides", _RESCALE
    return None
