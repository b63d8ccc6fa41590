"""The header of one DICOM file: what kind of picture, where it lies, how its pixels are stored.

pydicom finds the elements; only the few below are looked at, as bytes, since its own conversion of
values would double the time of three hundred headers. Identifiers serve to tell series apart and go
no further.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
from pydicom.tag import Tag

_TAGS = [
    _IMAGE_TYPE := Tag("ImageType"),
    _CLASS := Tag("SOPClassUID"),
    _MODALITY := Tag("Modality"),
    _SERIES := Tag("SeriesInstanceUID"),
    _POSITION := Tag("ImagePositionPatient"),
    _ORIENTATION := Tag("ImageOrientationPatient"),
    _SAMPLES := Tag("SamplesPerPixel"),
    _PHOTOMETRIC := Tag("PhotometricInterpretation"),
    _FRAMES := Tag("NumberOfFrames"),
    _ROWS := Tag("Rows"),
    _COLUMNS := Tag("Columns"),
    _SPACING := Tag("PixelSpacing"),
    _ALLOCATED := Tag("BitsAllocated"),
    _STORED := Tag("BitsStored"),
    _SIGNED := Tag("PixelRepresentation"),
    _INTERCEPT := Tag("RescaleIntercept"),
    _SLOPE := Tag("RescaleSlope"),
    _LUT := Tag("ModalityLUTSequence"),
]
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_NOT_A_STACK = {"LOCALIZER", "SCREEN SAVE", "SECONDARY"}
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"  # little endian, uncompressed
_PIXELS = b"\xe0\x7f\x10\x00"
_UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True)
class PlainPixels:
    """Where and how the pixels of a slice lie in its file, if as plain 16-bit numbers.

    Attributes:
        offset: of the first, in bytes.
        is_signed: whether the numbers are signed.
        bits: that are used; unsigned numbers have no others set.
        intercept: HU = number + intercept.
    """

    offset: int
    is_signed: bool
    bits: int
    intercept: int


@dataclass(frozen=True)
class Slice:
    """The header fields of one file; position and orientation are NaN where not readable.

    `spacing` of rows and columns is rounded, for comparisons. `pixels` is None where a decoder must
    read them.
    """

    path: Path
    series: str
    modality: str
    is_capture: bool
    num_values: int
    shape: tuple[int, int]
    spacing: tuple[float, ...]
    exact_spacing: tuple[float, ...]
    position: np.ndarray
    orientation: np.ndarray
    pixels: PlainPixels | None


def read_header(path: Path) -> Slice | None:
    """Return the header fields of a file, or None if it is no picture of a DICOM series."""
    try:
        with warnings.catch_warnings(), path.open("rb") as file:
            warnings.simplefilter("ignore")  # they may quote what stands in the header
            header = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=_TAGS)
            series, rows = _text(header, _SERIES), _integer(header, _ROWS, 0)
            if not series or not rows:
                return None
            kinds = {word.strip().upper() for word in _text(header, _IMAGE_TYPE).split("\\")}
            spacing = _numbers(header, _SPACING)
            return Slice(
                path=path,
                series=series,
                modality=_text(header, _MODALITY)[:2],
                is_capture=_text(header, _CLASS).startswith(_SECONDARY_CAPTURE)
                or bool(_NOT_A_STACK & kinds),
                num_values=_integer(header, _SAMPLES, 1),
                shape=(rows, _integer(header, _COLUMNS, 0)),
                spacing=tuple(round(mm, 4) for mm in spacing),
                exact_spacing=tuple(spacing),
                position=_vector(_numbers(header, _POSITION), 3),
                orientation=_vector(_numbers(header, _ORIENTATION), 6),
                pixels=_plain_pixels(header, file),
            )
    except Exception:
        return None


def _plain_pixels(header: pydicom.FileDataset, file: BinaryIO) -> PlainPixels | None:
    """Return how the pixels are stored, the file standing before them; None if not plainly."""
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    intercept = _numbers(header, _INTERCEPT) or [0.0]
    if (
        syntax not in (_IMPLICIT, _EXPLICIT)
        or _text(header, _PHOTOMETRIC) != "MONOCHROME2"
        or _integer(header, _ALLOCATED, 0) != 16
        or (_numbers(header, _SLOPE) or [1.0]) != [1.0]
        or (_numbers(header, _FRAMES) or [1.0]) != [1.0]
        or intercept[0] % 1 != 0
        or _LUT in header
    ):
        return None
    start = file.read(8 if syntax == _IMPLICIT else 12)
    length = int.from_bytes(start[-4:], "little")
    num_bytes = 2 * _integer(header, _ROWS, 0) * _integer(header, _COLUMNS, 0)
    if start[:4] != _PIXELS or length == _UNDEFINED or length < num_bytes:
        return None
    is_signed, bits = _integer(header, _SIGNED, 0) == 1, _integer(header, _STORED, 0)
    if is_signed and bits != 16:  # whoever wrote it may have left the upper bits without the sign
        return None
    return PlainPixels(file.tell(), is_signed, bits, int(intercept[0]))


def _raw(header: pydicom.FileDataset, tag: Any) -> bytes:
    """Return the bytes of an element, none if it is empty or not there."""
    element: Any = header.get_item(tag) if tag in header else None
    return element.value if element is not None and isinstance(element.value, bytes) else b""


def _text(header: pydicom.FileDataset, tag: Any) -> str:
    return _raw(header, tag).decode("latin-1").strip(" \0")


def _integer(header: pydicom.FileDataset, tag: Any, default: int) -> int:
    value, (_, is_little) = _raw(header, tag)[:2], header.original_encoding
    return int.from_bytes(value, "little" if is_little else "big") if value else default


def _numbers(header: pydicom.FileDataset, tag: Any) -> list[float]:
    text = _text(header, tag)
    return [float(number) for number in text.split("\\")] if text else []


def _vector(numbers: list[float], length: int) -> np.ndarray:
    return np.array(numbers if len(numbers) == length else [np.nan] * length)
