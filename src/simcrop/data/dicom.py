"""Read a folder with a DICOM series: choose the series, check its slices, stack them.

SimpleITK (GDCM) sorts the slices by position and applies rescale slope and intercept. What it
only warns about is refused here: another modality than CT, missing or doubled slices, a tilted
gantry. Of all header fields only modality and slice position are looked at, and none is kept.
"""

import logging
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from simcrop.errors import DataError, complain

log = logging.getLogger(__name__)

_MODALITY = "0008|0060"
_POSITION = "0020|0032"
# A slice may lie this share of the slice spacing off the regular grid. One missing slice is off
# by at least half a spacing; positions written with few decimals by less than a thousandth.
_POSITION_TOLERANCE = 0.1
# Sideways shift of the slice stack that still counts as upright: 1 mm over a chest is 0.2 degrees.
_TILT_TOLERANCE_MM = 1.0
_EXPORT_AGAIN = "Export the whole series again or remove its row."


def read_series(folder: Path) -> sitk.Image:
    """Return the CT series of a folder in HU; of several series the one with most slices.

    Raises:
        DataError: if there is no series, it is not CT, or its slices do not form a regular stack.
    """
    names = _largest_series(folder)
    first = sitk.ImageFileReader()
    first.SetFileName(names[0])
    first.ReadImageInformation()
    check_modality(first, folder)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(names)
    reader.MetaDataDictionaryArrayUpdateOn()  # for the position of each slice
    reader.LoadPrivateTagsOff()
    image = reader.Execute()
    if len(names) > 1:
        _check_positions(_slice_positions(reader, names, folder), image, names, folder)
    return image


def check_modality(reader: sitk.ImageFileReader, path: Path) -> None:
    """Refuse a DICOM file of another modality than CT; files of other formats pass.

    Raises:
        DataError: if the header names another modality.
    """
    if reader.HasMetaDataKey(_MODALITY) and reader.GetMetaData(_MODALITY).strip() != "CT":
        modality = reader.GetMetaData(_MODALITY).strip()[:2]  # two letters hold no free text
        raise DataError(
            complain(
                f"{path}: DICOM of modality {modality}", "CT", "Remove its row from the table."
            )
        )


def _largest_series(folder: Path) -> list[str]:
    """Return the files, in slice order, of the series with most slices; the first if equal."""
    series_ids = sorted(sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder)))
    if not series_ids:
        raise DataError(
            complain(
                f"{folder}: a folder without a DICOM series",
                "the files of one CT series directly inside",
                "Point the path at the folder that holds the slices.",
            )
        )
    series = [
        list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), s)) for s in series_ids
    ]
    largest = max(range(len(series)), key=lambda i: len(series[i]))
    if len(series) > 1:  # by number: the identifiers themselves belong to the patient
        counts = [len(names) for names in series]
        log.warning("%s: %d series with %s slices; number %d is read", folder, len(series), counts,
                    largest + 1)  # fmt: skip
    return series[largest]


def _slice_positions(reader: sitk.ImageSeriesReader, names: list[str], folder: Path) -> np.ndarray:
    """Return the position of every slice's first voxel in LPS mm, shape (slices, 3)."""
    try:
        texts = [reader.GetMetaData(i, _POSITION) for i in range(len(names))]
        return np.array([[float(mm) for mm in text.split("\\")] for text in texts])
    except (RuntimeError, ValueError) as error:
        found = f"{folder}: a slice without a readable position"
        raise DataError(
            complain(found, "ImagePositionPatient in every file", _EXPORT_AGAIN)
        ) from error


def _check_positions(
    positions: np.ndarray, image: sitk.Image, names: list[str], folder: Path
) -> None:
    """Refuse gaps, doubled slices and a stack that leans to a side."""
    normal = np.array(image.GetDirection()).reshape(3, 3)[:, 2]
    heights = (positions - positions[0]) @ normal
    order = np.argsort(heights, kind="stable")  # GDCM leaves doubled slices in any order
    heights = heights[order]
    gaps = np.diff(heights)
    spacing = float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else 0.0
    regular = np.linspace(heights[0], heights[-1], len(heights))
    if spacing == 0 or np.abs(heights - regular).max() > _POSITION_TOLERANCE * spacing:
        odd = int(np.abs(gaps - spacing).argmax())
        first, second = (Path(names[order[i]]).name for i in (odd, odd + 1))
        raise DataError(
            complain(
                f"{folder}: {gaps[odd]:.2f} mm between {first} and {second}",
                f"evenly spaced slices, {spacing:.2f} mm apart as most here are",
                f"Slices are missing or doubled. {_EXPORT_AGAIN}",
            )
        )
    travel = positions[-1] - positions[0]
    sideways = float(np.linalg.norm(travel - (travel @ normal) * normal))
    if sideways > _TILT_TOLERANCE_MM:
        raise DataError(
            complain(
                f"{folder}: the slices move {sideways:.1f} mm sideways from first to last",
                "a stack at right angles to its slices",
                "The gantry was tilted; use a reconstruction without tilt.",
            )
        )
