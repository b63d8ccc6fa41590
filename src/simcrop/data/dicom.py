"""A DICOM series below a folder: find it, check its slices, stack them.

Headers are read once (`dicom_headers`); of several series one is chosen by rule. Its pixels follow
in HU (`dicom_pixels`). A tilted gantry is corrected: the stack keeps its true, sheared geometry,
and resampling onto the patient's axes straightens it.
"""

import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from simcrop.data.dicom_headers import Slice, read_header
from simcrop.data.dicom_pixels import read_pixels
from simcrop.data.stack import Stack
from simcrop.errors import DataError, complain

log = logging.getLogger(__name__)

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


def read_series(folder: Path, number: int | None = None) -> Stack:
    """Return a CT series below a folder in HU.

    Of several series that are CT, no localiser or capture, and of 8 slices or more, the one with
    most slices is read, the first of equals in the order of their identifiers. Which one it is
    stands in `Stack.series`, as JSON without identifiers.

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
    stack = _straightened(read_pixels(slices), slices, folder)
    counts = [len(one) for one in series]
    rule = "most slices" if number is None else "named in the table"
    about = {"number": chosen + 1, "slices": counts, "rule": rule}
    if len(series) > 1:
        log.warning("%s: %d series with %s slices; number %d is read (%s)", folder, len(series),
                    counts, chosen + 1, rule)  # fmt: skip
    return replace(stack, series=json.dumps(about))


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


def _find_series(folder: Path) -> list[list[Slice]]:
    """Return the slices of every series below a folder, series in the order of identifiers."""
    found: dict[str, list[Slice]] = {}
    for path in sorted(_files(folder)):
        if one := read_header(path):
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


def _files(folder: Path) -> Iterator[Path]:
    for where, _, names in os.walk(folder):
        yield from (path for name in names if (path := Path(where, name)).is_file())


def _choose(series: list[list[Slice]], number: int | None, folder: Path) -> int:
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


def _fault_of(slices: list[Slice]) -> tuple[str, str, str, str] | None:
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
    orientations = np.stack([one.orientation for one in slices])
    if not np.isfinite([*(one.position for one in slices), *orientations.reshape(-1, 3)]).all():
        found = "a slice without a readable position and orientation"
        expected = "ImagePositionPatient and ImageOrientationPatient in every file"
        return "no_position", found, expected, _EXPORT_AGAIN
    if np.abs(orientations - first.orientation).max() > _PARALLEL:
        found = "slices of different orientation in one series"
        return "mixed_orientation", found, "parallel slices", _EXPORT_AGAIN
    return None


def _size(size: tuple[tuple[int, int], tuple[float, ...]]) -> str:
    (rows, columns), spacing = size
    return f"{columns} x {rows} pixels of {' x '.join(f'{mm:g}' for mm in spacing)} mm"


def _axes(one: Slice) -> np.ndarray:
    """Return the directions of rows and columns, and of the right angle to both, as columns."""
    along_row, along_column = one.orientation[:3], one.orientation[3:]
    return np.stack([along_row, along_column, np.cross(along_row, along_column)], axis=1)


def _in_order(slices: list[Slice], folder: Path) -> list[Slice]:
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


def _straightened(stack: Stack, slices: list[Slice], folder: Path) -> Stack:
    """Return the stack with the direction in which its slices really travel, if that is a tilt."""
    axes = _axes(slices[0])
    travel = slices[-1].position - slices[0].position
    length = float(np.linalg.norm(travel))
    sideways = float(np.linalg.norm(travel - (travel @ axes[:, 2]) * axes[:, 2]))
    if sideways <= _TILT_TOLERANCE_MM:
        return stack
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
    return replace(
        stack,
        spacing_mm=(*stack.spacing_mm[:2], length / (len(slices) - 1)),
        direction=axes.ravel().tolist(),
        origin_mm=slices[0].position.tolist(),
    )
