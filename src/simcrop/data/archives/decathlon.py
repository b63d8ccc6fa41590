"""Any set in the layout of the Medical Segmentation Decathlon: dataset.json, images, label maps.

Classes are those that the list names. Its `training` part is divided by patient into train, val and
test; a `validation` part, which some lists have, is the test part, and val is carved from the
training. Images without labels (`test`) are left out.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from simcrop.data.archive import Archive
from simcrop.data.archives.parts import Draw, find_table, without_reports
from simcrop.errors import DataError, complain

_REMEDY = "Take the list that comes with the set: dataset.json or dataset_0.json."
_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")


@dataclass(frozen=True)
class DecathlonList:
    """What a dataset.json says.

    Attributes:
        folder: where its paths start.
        class_names: name by value, 0 is background.
        parts: path of image and label of every case, by `training` and `validation`.
    """

    folder: Path
    class_names: dict[int, str]
    parts: dict[str, list[tuple[str, str]]]


def read(folder: Path, draw: Draw) -> Archive:
    """Read a set of volumes and label maps of any region.

    Raises:
        DataError: if dataset.json is missing or damaged.
    """
    return as_archive(read_list(find_table(folder, "dataset.json", "dataset_0.json")), draw)


def as_archive(listed: DecathlonList, draw: Draw, name: str = "decathlon") -> Archive:
    """Return the archive that a list describes."""
    rows, anatomy, part_of = [], [], {}
    for part, entries in listed.parts.items():
        for image, label in entries:
            volume = case_name(image)
            rows.append((volume, volume, image))
            anatomy.append((volume, label))
            part_of[volume] = "test" if part == "validation" else "train"
    has_test = "test" in part_of.values()
    splits = draw.carve_val(part_of) if has_test else draw.split(list(part_of))
    classes = pd.DataFrame(sorted(listed.class_names.items()), columns=["value", "name"])
    return Archive(
        root=listed.folder,
        volumes=pd.DataFrame(rows, columns=["volume_id", "study_id", "path"]),
        reports=without_reports([(name, name) for name in part_of], splits),
        anatomy=pd.DataFrame(anatomy, columns=["volume_id", "path"]),
        anatomy_names=classes,
        name=name,
        has_reports=False,
        has_lungs=False,
    )


def read_list(path: Path) -> DecathlonList:
    """Read a dataset.json; classes may be given as value to name or as name to value.

    Raises:
        DataError: if it is missing, damaged, or a listed image has no label.
    """
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        parts = {
            part: [(str(entry["image"]), str(entry["label"])) for entry in listed.get(part, [])]
            for part in ("training", "validation")
        }
        return DecathlonList(path.parent, _class_names(listed["labels"]), parts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            complain(
                f"{path}: not readable as a Decathlon list ({type(error).__name__}: {error})",
                "labels, and training with image and label",
                _REMEDY,
            ),
            "missing_table",
        ) from error


def _class_names(labels: dict[str, Any]) -> dict[int, str]:
    if all(key.lstrip("-").isdecimal() for key in labels):
        return {int(value): str(name) for value, name in labels.items()}
    return {int(value): name for name, value in labels.items()}


def case_name(path: str) -> str:
    """Return the name of a case, which its image and its label map share."""
    name = Path(path).name
    return next((name.removesuffix(end) for end in _ENDINGS if name.endswith(end)), name)
