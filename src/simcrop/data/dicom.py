"""A DICOM series below a folder: find it, check its slices, stack them.

Headers are read once, by pydicom, and only the fields below: what kind of picture, where it lies,
how large it is. SimpleITK (GDCM) then reads the pixels and applies each slice's rescale slope and
intercept. Of several series one is chosen by rule; identifiers serve to tell them apart and go no
further. A tilted gantry is corrected: the stack keeps its true, sheared geometry, and resampling
onto the patient's axes straightens it.
"""

import json
import logging
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813

from simcrop.errors import DataError, complain

log = logging.getLogger(__name__)

SERIES_KEY = "simcrop.series"  # where an image carries which series it is

_TAGS = [
    "SOPClassUID",
    "ImageType",
    "Modality",
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "Rows",
    "Columns",
    "SamplesPerPixel",
]
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_NOT_A_STACK = {"LOCALIZER", "SCREEN SAVE", "SECONDARY"}
_MIN_SLICES = 8
# A slice may lie this share of the slice spacing off the regular grid. One missing slice is off
# by at least half a spacing; positions written with few decimals by less than a thousandth.
_POSITION_TOLERANCE = 0.1
# Sideways shift of the slice stack that still counts as upright: 1 mm over a chest is 0.2 degrees.
_TILT_TOLERANCE_MM = 1.0
_MAX_TILT_DEGREES = 45.0  # gantries tilt by up to 30
_PARALLEL = 1e-3
_REMOVE = "Remove its row, or name another series in the column `series`."
_EXPORT_AGAIN = "Export the whole series again or remove its row."


@dataclass(frozen=True)
class _Slice:
    """The header fields of one file; position and orientation are NaN where not readable."""

    path: Path
    series: str
    modality: str
    is_capture: bool
    num_values: int
    shape: tuple[int, int]
    spacing: tuple[float, ...]
    position: np.ndarray
    orientation: np.ndarray


def read_series(folder: Path, number: int | None = None) -> sitk.Image:
    """Return a CT series below a folder in HU.

    Of several series that are CT, no localiser or capture, and of 8 slices or more, the one with
    most slices is read, the first of equals in the order of their identifiers. Which one it is
    stands in the image's metadata under `SERIES_KEY`, as JSON without identifiers.

    Args:
        folder: holds the files, with or without folders between; other files are ignored.
        number: which series to read instead, counted from 1 in the order of the identifiers.

    Raises:
        DataError: if there is no such series, it is not CT, or its slices form no regular stack.
    """
    series = _find_series(folder)
    chosen = _choose(series, number, folder)
    if fault := _fault_of(series[chosen]):
        kind, found, expected, remedy = fault
        raise DataError(complain(f"{folder}: {found}", expected, remedy), kind)
    slices = _in_order(series[chosen], folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(one.path) for one in slices])
    reader.LoadPrivateTagsOff()
    image = reader.Execute()
    _set_geometry(image, slices, folder)
    counts = [len(one) for one in series]
    rule = "most slices" if number is None else "named in the table"
    about = {"number": chosen + 1, "slices": counts, "rule": rule}
    image.SetMetaData(SERIES_KEY, json.dumps(about))
    if len(series) > 1:
        log.warning("%s: %d series with %s slices; number %d is read (%s)", folder, len(series),
                    counts, chosen + 1, rule)  # fmt: skip
    return image


def check_modality(reader: sitk.ImageFileReader, path: Path) -> None:
    """Refuse a DICOM file of another modality than CT; files of other formats pass.

    Raises:
        DataError: if the header names another modality.
    """
    if reader.HasMetaDataKey("0008|0060"):
        modality = reader.GetMetaData("0008|0060").strip()[:2]
        if modality != "CT":
            found = f"{path}: {_other_modality(modality)}"
            raise DataError(complain(found, "CT", _REMOVE), "other_modality")


def _other_modality(modality: str) -> str:
    shown = modality if modality.isalpha() and modality.isupper() else "unknown"  # no free text
    return f"DICOM of modality {shown}"


def _find_series(folder: Path) -> list[list[_Slice]]:
    """Return the slices of every series below a folder, series in the order of identifiers."""
    found: dict[str, list[_Slice]] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if one := _read_header(path):
            found.setdefault(one.series, []).append(one)
    if not found:
        raise DataError(
            complain(
                f"{folder}: a folder without a DICOM series",
                "the files of a CT series inside, or in folders below",
                "Point the path at the folder that holds the slices.",
            ),
            "no_series",
        )
    return [found[series] for series in sorted(found)]


def _read_header(path: Path) -> _Slice | None:
    """Return the header fields of a file, or None if it is no picture of a DICOM series."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they may quote what stands in the header
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
            if "Rows" not in header or "SeriesInstanceUID" not in header:
                return None
            return _Slice(
                path=path,
                series=str(header.SeriesInstanceUID),
                modality=str(header.get("Modality", ""))[:2],
                is_capture=str(header.get("SOPClassUID", "")).startswith(_SECONDARY_CAPTURE)
                or bool(_NOT_A_STACK & {str(word).upper() for word in header.get("ImageType", [])}),
                num_values=int(header.get("SamplesPerPixel", 1)),
                shape=(int(header.Rows), int(header.get("Columns", 0))),
                spacing=tuple(round(float(mm), 4) for mm in header.get("PixelSpacing", ())),
                position=_numbers(header.get("ImagePositionPatient"), 3),
                orientation=_numbers(header.get("ImageOrientationPatient"), 6),
            )
    except Exception:
        return None


def _numbers(values: Any, length: int) -> np.ndarray:
    is_complete = values is not None and len(values) == length
    return np.array([float(value) for value in values] if is_complete else [np.nan] * length)


def _choose(series: list[list[_Slice]], number: int | None, folder: Path) -> int:
    """Return the position of the asked series, or of the longest that can be a CT volume."""
    if number is not None:
        if not 1 <= number <= len(series):
            raise DataError(
                complain(
                    f"{folder}: no series number {number}",
                    f"1 to {len(series)}, with {', '.join(str(len(s)) for s in series)} slices",
                    "Correct the column `series` of volumes.csv.",
                ),
                "no_series",
            )
        return number - 1
    usable = [i for i, slices in enumerate(series) if _fault_of(slices) is None]
    return max(usable or range(len(series)), key=lambda i: len(series[i]))


def _fault_of(slices: list[_Slice]) -> tuple[str, str, str, str] | None:
    """Return kind, finding, expectation and remedy if a series can be no CT volume, else None."""
    first = slices[0]
    if first.modality != "CT":
        return "other_modality", _other_modality(first.modality), "CT", _REMOVE
    if sum(one.is_capture for one in slices) * 2 > len(slices):
        return "localiser", "a localiser, secondary capture or screen save", "a CT stack", _REMOVE
    if any(one.num_values != 1 for one in slices):
        return "colour", f"{first.num_values} values per voxel", "1 value per voxel, in HU", _REMOVE
    if len(slices) < _MIN_SLICES:
        found = f"a series of {len(slices)} slices"
        return "too_few_slices", found, f"at least {_MIN_SLICES}", _REMOVE
    if len(shapes := Counter((one.shape, one.spacing) for one in slices)) > 1:
        (usual, _), (odd, count) = shapes.most_common()[0], shapes.most_common()[-1]
        found = f"{count} of {len(slices)} slices of {_size(odd)}, others of {_size(usual)}"
        return "mixed_series", found, "one size of slices and pixels", _EXPORT_AGAIN
    if not all(np.isfinite([*one.position, *one.orientation]).all() for one in slices):
        found = "a slice without a readable position and orientation"
        expected = "ImagePositionPatient and ImageOrientationPatient in every file"
        return "no_position", found, expected, _EXPORT_AGAIN
    if any(np.abs(_axes(one) - _axes(first)).max() > _PARALLEL for one in slices):
        found = "slices of different orientation in one series"
        return "mixed_orientation", found, "parallel slices", _EXPORT_AGAIN
    return None


def _size(size: tuple[tuple[int, int], tuple[float, ...]]) -> str:
    (rows, columns), spacing = size
    return f"{columns} x {rows} pixels of {' x '.join(f'{mm:g}' for mm in spacing)} mm"


def _axes(one: _Slice) -> np.ndarray:
    """Return the directions of rows and columns, and of the right angle to both, as columns."""
    along_row, along_column = one.orientation[:3], one.orientation[3:]
    return np.stack([along_row, along_column, np.cross(along_row, along_column)], axis=1)


def _in_order(slices: list[_Slice], folder: Path) -> list[_Slice]:
    """Return the slices along their normal; refuse gaps and doubled slices."""
    normal = _axes(slices[0])[:, 2]
    ordered = sorted(slices, key=lambda one: float(one.position @ normal))
    heights = np.array([one.position @ normal for one in ordered])
    gaps = np.diff(heights)
    spacing = float(np.median(gaps[gaps > 1e-3])) if (gaps > 1e-3).any() else 0.0
    regular = np.linspace(heights[0], heights[-1], len(heights))
    if spacing == 0 or np.abs(heights - regular).max() > _POSITION_TOLERANCE * spacing:
        doubled = bool((gaps < _POSITION_TOLERANCE * spacing).any()) or spacing == 0
        odd = int(gaps.argmin() if doubled else gaps.argmax())
        what = "doubled" if doubled else "missing"
        raise DataError(
            complain(
                f"{folder}: {gaps[odd]:.2f} mm between slices {odd + 1} and {odd + 2} of "
                f"{len(slices)} in the order of their place",
                f"evenly spaced slices, {spacing:.2f} mm apart as most here are",
                f"Slices are {what}. {_EXPORT_AGAIN}",
            ),
            "duplicated_slices" if doubled else "missing_slices",
        )
    return ordered


def _set_geometry(image: sitk.Image, slices: list[_Slice], folder: Path) -> None:
    """Give the stack the direction in which its slices really travel, tilted gantry included."""
    axes = _axes(slices[0])
    travel = slices[-1].position - slices[0].position
    length = float(np.linalg.norm(travel))
    sideways = float(np.linalg.norm(travel - (travel @ axes[:, 2]) * axes[:, 2]))
    if sideways <= _TILT_TOLERANCE_MM:
        return
    degrees = float(np.rad2deg(np.arcsin(sideways / length)))
    if degrees > _MAX_TILT_DEGREES:
        raise DataError(
            complain(
                f"{folder}: the slices move {sideways:.0f} mm sideways over {length:.0f} mm",
                f"a stack that leans by no more than {_MAX_TILT_DEGREES:.0f} degrees",
                _EXPORT_AGAIN,
            ),
            "mixed_orientation",
        )
    log.info("%s: gantry tilt of %.1f degrees, corrected", folder, degrees)
    axes[:, 2] = travel / length
    image.SetOrigin(slices[0].position.tolist())
    image.SetSpacing([*image.GetSpacing()[:2], length / (len(slices) - 1)])
    image.SetDirection(axes.ravel().tolist())
