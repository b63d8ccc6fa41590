"""LUNA16: 888 volumes in ten subsets, nodules in a table, lung masks beside them.

A scan's label is whether the table of nodules names it. The masks' values 3, 4, 5 (left lung, right
lung, trachea) become 1, 2, 3; whatever else is in them becomes background.
"""

import json
import logging
from pathlib import Path

import pandas as pd

from simcrop.data.archive import Archive, read_table
from simcrop.data.archives.parts import Draw, find_table, without_reports
from simcrop.data.label_names import LUNA16, LUNA16_SEGMENTATION
from simcrop.errors import DataError, complain

log = logging.getLogger(__name__)

_MASKS = "seg-lungs-LUNA16"
_VALUES = {3: 1, 4: 2, 5: 3}


def read(folder: Path, draw: Draw) -> Archive:
    """Read LUNA16; it names no patients, so each scan counts as one.

    Raises:
        DataError: if annotations.csv is missing, or names none of the scans.
    """
    paths = {path.stem: path for path in sorted(folder.glob("**/subset*/*.mhd"))}
    masks = {path.stem: path for path in sorted(folder.glob(f"**/{_MASKS}/*.mhd"))}
    studies = [(name, name) for name in paths]
    rows = [(name, name, str(path.resolve())) for name, path in paths.items()]
    anatomy = [(name, str(masks[name].resolve()), json.dumps(_VALUES))
               for name in paths if name in masks]  # fmt: skip
    if without := len(paths) - len(anatomy):
        log.warning("%d of %d volumes have no mask in %s", without, len(paths), _MASKS)
    return Archive(
        root=folder,
        volumes=pd.DataFrame(rows, columns=["volume_id", "study_id", "path"]),
        reports=without_reports(studies, draw.split(list(paths))),
        labels=_labels(folder, list(paths)) if paths else None,
        anatomy=pd.DataFrame(anatomy, columns=["volume_id", "path", "values"]),
        anatomy_names=pd.DataFrame(enumerate(LUNA16_SEGMENTATION), columns=["value", "name"]),
        name="luna16",
        has_reports=False,
    )


def _labels(folder: Path, scans: list[str]) -> pd.DataFrame:
    path = find_table(folder, "annotations.csv")
    with_nodule = set(read_table(path, ["seriesuid", "coordX", "diameter_mm"]).seriesuid)
    if not with_nodule & set(scans):
        raise DataError(
            complain(
                f"{path}: names none of the {len(scans)} scans",
                "the table of the same set",
                "Take annotations.csv of LUNA16, not of another release.",
            ),
            "unmatched_names",
        )
    (label,) = LUNA16
    return pd.DataFrame({"study_id": scans, label: [int(scan in with_nodule) for scan in scans]})
