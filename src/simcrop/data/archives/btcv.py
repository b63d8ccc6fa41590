"""BTCV: 30 labelled abdomens in the layout of the Decathlon: a JSON list with 14 classes.

The published list trains on 24 and both chooses and reports on 6. Here these 6 are the test part
and val is carved from the 24; the published way is `paper_split`, which needs no lists.
"""

import json
from pathlib import Path

import pandas as pd

from simcrop.data.archive import Archive
from simcrop.data.archives.parts import Draw, find_table, without_reports
from simcrop.data.label_names import BTCV
from simcrop.errors import DataError, complain

_REMEDY = "Take the list that comes with the benchmark: dataset.json or dataset_0.json."


def read(folder: Path, draw: Draw) -> Archive:
    """Read BTCV; images without labels are left out.

    Raises:
        DataError: if dataset.json is missing, damaged, or does not have the 14 classes.
    """
    listed = _listed(folder)
    parts = {"train": listed["training"], "test": listed.get("validation", [])}
    rows, anatomy, part_of = [], [], {}
    for part, entries in parts.items():
        for entry in entries:
            volume = Path(entry["image"]).name.removesuffix(".nii.gz")
            rows.append((volume, volume, entry["image"]))
            anatomy.append((volume, entry["label"]))
            part_of[volume] = part
    paper = [(volume, part if part == "train" else "val+test") for volume, part in part_of.items()]
    return Archive(
        root=folder,
        volumes=pd.DataFrame(rows, columns=["volume_id", "study_id", "path"]),
        reports=without_reports([(name, name) for name in part_of], draw.carve_val(part_of)),
        anatomy=pd.DataFrame(anatomy, columns=["volume_id", "path"]),
        anatomy_names=pd.DataFrame(enumerate(BTCV), columns=["value", "name"]),
        name="btcv",
        has_reports=False,
        has_lungs=False,
        paper_split=pd.DataFrame(paper, columns=["volume_id", "split"]),
    )


def _listed(folder: Path) -> dict:
    """Return the content of the JSON list, checked."""
    path = find_table(folder, "dataset.json", "dataset_0.json")
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        num_classes = len(listed["labels"])
        entries = [*listed["training"], *listed.get("validation", [])]
        complete = all({"image", "label"} <= set(entry) for entry in entries)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            complain(f"{path}: not readable as a Decathlon list ({type(error).__name__})",
                     "labels and training with image and label", _REMEDY), "missing_table"
        ) from error  # fmt: skip
    if num_classes != len(BTCV) or not complete:
        raise DataError(
            complain(
                f"{path}: {num_classes} classes, every training image with a label: {complete}",
                f"{len(BTCV)} classes: {', '.join(BTCV)}",
                _REMEDY,
            ),
            "unknown_label",
        )
    return listed
