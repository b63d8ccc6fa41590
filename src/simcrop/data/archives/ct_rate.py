"""CT-RATE: 50,188 volumes of 25,692 scans, reports per volume, 18 labels.

In the first release (`train`, `valid`) values are not HU and headers are blank: slope, intercept,
voxel size and orientation are in the metadata tables. The second (`train_fixed`, `valid_fixed`)
has them in the files, and rescaling it again is the best-known mistake with this set. Volumes of
one scan are reconstructions and share its report: scan = study.
"""

import ast
import logging
import re
from pathlib import Path

import numpy as np
import pandas as pd

from simcrop.data.archive import Archive, read_table
from simcrop.data.archives.parts import Draw, find_table, label_columns
from simcrop.data.label_names import CT_RATE
from simcrop.data.stated import StatedHeader
from simcrop.errors import DataError, complain

log = logging.getLogger(__name__)

_NAME = re.compile(r"((train|valid)_\d+)_([a-z]+)_(\d+)\.nii\.gz")
_PARTS = {"train": ("train", "train"), "valid": ("validation", "test")}  # tables' prefix, our part
_METADATA = ["VolumeName", "RescaleSlope", "RescaleIntercept", "XYSpacing", "ZSpacing",
             "ImagePositionPatient", "ImageOrientationPatient"]  # fmt: skip


def read(folder: Path, draw: Draw) -> Archive:
    """Read CT-RATE; the published validation set is the test set, val is carved from train.

    Raises:
        DataError: if tables are missing or contradict each other, or volumes of the first release
            lie there without metadata.
    """
    base = folder / "dataset" if (folder / "dataset").is_dir() else folder
    volumes, reports, labels = [], [], []
    for part, (prefix, ours) in _PARTS.items():
        found = _volumes(base, part, prefix)
        if not found:
            continue
        volumes += found
        reports.append(_reports(find_table(base, f"{prefix}_reports.csv"), ours))
        labels.append(_labels(find_table(base, f"{part}_predicted_labels.csv")))
    if not volumes:
        return Archive(folder, pd.DataFrame(), pd.DataFrame(), name="ct_rate")
    table = pd.DataFrame(volumes, columns=["volume_id", "study_id", "path", "header"])
    texts = pd.concat(reports)
    texts = texts[texts.study_id.isin(table.study_id)].reset_index(drop=True)
    parts = draw.carve_val(dict(zip(texts.patient_id, texts["split"], strict=True)))
    return Archive(
        root=folder,
        volumes=table,
        reports=texts.assign(split=texts.patient_id.map(parts)),
        labels=pd.concat(labels).reset_index(drop=True),
        name="ct_rate",
    )


def _volumes(base: Path, part: str, prefix: str) -> list[tuple[str, str, str, str]]:
    """Return volume, scan, path and stated header of every chest volume of a part."""
    fixed, first = base / f"{part}_fixed", base / part
    is_first = not fixed.is_dir()
    root = first if is_first else fixed
    if not root.is_dir():
        return []
    if not is_first and first.is_dir():
        log.warning("both releases are there; %s is used, %s is not", fixed, first)
    headers = _headers(base, prefix) if is_first else {}
    not_chest = _not_chest(base, part)
    rows = []
    for path in sorted(root.rglob("*.nii.gz")):
        named = _NAME.fullmatch(path.name)
        if named is None:
            raise DataError(
                complain(f"{path}: not a CT-RATE name", "names like train_1_a_1.nii.gz",
                         "Move other files away."), "unmatched_names")  # fmt: skip
        if path.name in not_chest:
            continue
        header = headers.get(path.name, f"no row in {prefix}_metadata.csv") if is_first else ""
        volume = path.name.removesuffix(".nii.gz")
        rows.append((volume, f"{named[1]}_{named[3]}", str(path.resolve()), header))
    return rows


def _not_chest(base: Path, part: str) -> set[str]:
    """Return the volumes that the publishers list as not showing a chest, mostly heads."""
    listed = [path.read_text(encoding="utf-8").split()
              for path in base.glob(f"**/no_chest_{part}.txt")]  # fmt: skip
    names = {name for names in listed for name in names}
    if names:
        log.info("%d volumes listed in no_chest_%s.txt are left out", len(names), part)
    return names


def _headers(base: Path, prefix: str) -> dict[str, str]:
    """Return the stated header of every volume of the first release."""
    path = find_table(base, f"{prefix}_metadata.csv")
    table = read_table(path, _METADATA)
    return {row["VolumeName"]: _header(row) for row in table.to_dict("records")}


def _header(row: dict) -> str:
    """Return one row of the metadata as JSON, or what is wrong with it."""
    try:
        x, y = _numbers(row["XYSpacing"], 2)
        axes = np.array(_numbers(row["ImageOrientationPatient"], 6)).reshape(2, 3)
        direction = np.stack([*axes, np.cross(axes[0], axes[1])], axis=1)
        header = StatedHeader(
            spacing_mm=(x, y, float(row["ZSpacing"])),
            direction=tuple(direction.ravel().tolist()),
            origin_mm=_numbers(row["ImagePositionPatient"], 3),
            slope=float(row["RescaleSlope"]),
            intercept=float(row["RescaleIntercept"]),
        )
    except (ValueError, SyntaxError, TypeError) as error:
        return f"metadata row not usable: {error}"
    return header.to_json()


def _numbers(text: str, count: int) -> tuple[float, ...]:
    """Return the numbers of a cell like "[0.7, 0.7]"."""
    values = tuple(float(value) for value in ast.literal_eval(text))
    if len(values) != count:
        raise ValueError(f"{text!r} is not {count} numbers")
    return values


def _reports(path: Path, part: str) -> pd.DataFrame:
    """Return one row per scan; the table has one per volume.

    Raises:
        DataError: if two reconstructions of a scan have different findings.
    """
    table = read_table(path, ["VolumeName", "Findings_EN", "Impressions_EN"])
    named = table.VolumeName.str.extract(_NAME)
    rows = pd.DataFrame({"study_id": named[0] + "_" + named[2], "patient_id": named[0],
                         "findings": table.Findings_EN, "impression": table.Impressions_EN,
                         "split": part}).dropna().drop_duplicates()  # fmt: skip
    if len(twice := rows.study_id[rows.study_id.duplicated()]):
        raise DataError(
            complain(
                f"{path}: different reports for reconstructions of {twice.iloc[0]}",
                "one report per scan",
                "Keep the right one.",
            ),
            "two_reports",
        )
    return rows


def _labels(path: Path) -> pd.DataFrame:
    """Return one row per scan; scans with an empty cell were not annotated and are left out."""
    table = label_columns(path, "VolumeName", CT_RATE, "Download the table again.")
    named = table.VolumeName.str.extract(_NAME)
    table = table[list(CT_RATE)]
    is_annotated = table.isin(["0", "1", "0.0", "1.0"]).all(axis=1) & named[0].notna()
    labels = table[is_annotated].astype(float).astype(int)
    labels.insert(0, "study_id", (named[0] + "_" + named[2])[is_annotated])
    return labels.groupby("study_id", sort=False, as_index=False).max()
