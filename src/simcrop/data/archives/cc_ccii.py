"""CC-CCII: 8-bit slices of patients with pneumonia, with COVID-19, and without either.

Folders are class / patient / scan. Nothing states voxel size or HU. Values 0..255 are spread over
-1000..1000, which the paper's window maps to [-1, 1] (D-24), and every scan is given one nominal
extent, as the authors' resized copy has one size.
"""

import logging
from pathlib import Path

import pandas as pd
import SimpleITK as sitk  # noqa: N813

from simcrop.data.archive import Archive
from simcrop.data.archives.parts import Draw, without_reports
from simcrop.data.arrays import PICTURES
from simcrop.data.label_names import CC_CCII
from simcrop.data.stated import StatedHeader

log = logging.getLogger(__name__)

_CLASSES = dict(zip(("Normal", "CP", "NCP"), CC_CCII, strict=True))
_EXTENT_MM = (336.0, 336.0, 300.0)  # nominal: a chest; the true size of no scan is published


def read(folder: Path, draw: Draw) -> Archive:
    """Read CC-CCII: one label per class, patients drawn for train, val and test.

    The class is part of the patient's name, since numbers are given per class.
    """
    volumes, studies, labels = [], [], []
    for name, label in _CLASSES.items():
        for class_folder in sorted(p for p in folder.rglob(name) if p.is_dir()):
            for path in sorted(class_folder.glob("*/*")):
                if (shape := _shape(path)) is None:
                    continue
                patient = f"{name}_{path.parent.name}"
                volume = f"{patient}_{path.name.removesuffix('.nii.gz')}"
                volumes.append((volume, volume, str(path.resolve()), _header(shape).to_json()))
                studies.append((volume, patient))
                labels.append({"study_id": volume} | {c: int(c == label) for c in CC_CCII})
    log.info("CC-CCII states no voxel size; every scan is given %g x %g x %g mm", *_EXTENT_MM)
    return Archive(
        root=folder,
        volumes=pd.DataFrame(volumes, columns=["volume_id", "study_id", "path", "header"]),
        reports=without_reports(studies, draw.split([patient for _, patient in studies])),
        labels=pd.DataFrame(labels),
        name="cc_ccii",
        has_reports=False,
    )


def _shape(path: Path) -> tuple[int, int, int] | None:
    """Return columns, rows and slices of a scan, or None if the path is no scan."""
    reader = sitk.ImageFileReader()
    if path.is_dir():
        slices = [p for p in path.iterdir() if p.suffix.lower() in PICTURES]
        if not slices:
            return None
        reader.SetFileName(str(slices[0]))
        number = len(slices)
    elif path.name.endswith(".nii.gz"):
        reader.SetFileName(str(path))
        number = 0
    else:
        return None
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # prepare reads it again, and refuses it with its reason
        return 1, 1, 1
    size = reader.GetSize()
    return size[0], size[1], number or size[2]


def _header(shape: tuple[int, int, int]) -> StatedHeader:
    """Return nominal voxels; slices are taken to run from the head down, rows front to back."""
    spacing = tuple(mm / number for mm, number in zip(_EXTENT_MM, shape, strict=True))
    direction = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)
    return StatedHeader(spacing, direction, slope=2000 / 255, intercept=-1000.0, is_8bit=True)
