"""RadChestCT: 3,630 public volumes as bare .npz arrays, labels per abnormality and location.

Arrays run from the head down, from front to back and from the patient's right to the left, at
0.8 mm; nothing in the files says so, but the authors' published preprocessing does (the repository
ct-volume-preprocessing). `trn`, `val` and `tst` in the names are the published parts.
"""

import logging
from pathlib import Path

import pandas as pd

from simcrop.data.archive import Archive, read_table
from simcrop.data.archives.parts import Draw, find_table, label_columns, without_reports
from simcrop.data.label_names import RAD_CHEST_CT, RAD_CHEST_CT_ABNORMALITIES
from simcrop.data.stated import StatedHeader
from simcrop.errors import DataError, complain

log = logging.getLogger(__name__)

_PARTS = {"trn": "train", "val": "val", "tst": "test"}
_RAW = "img*_Abnormality_and_Location_Labels.csv"
_HEADER = StatedHeader((0.8, 0.8, 0.8), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
_EFFUSIONS = ("Pericardial effusion", "Pleural effusion")


def read(folder: Path, draw: Draw) -> Archive:
    """Read RadChestCT; its published parts are real and kept.

    Raises:
        DataError: if tables are missing, name unknown labels, or the two effusions are one column.
    """
    paths = {path.stem: path for path in sorted(folder.rglob("*.npz")) if path.stem[:3] in _PARTS}
    patient_of = _patients(folder)
    studies = [(name, patient_of.get(name, name)) for name in paths]
    splits = {patient: _PARTS[name[:3]] for name, patient in studies}
    rows = [(name, name, str(path.resolve()), _HEADER.to_json()) for name, path in paths.items()]
    return Archive(
        root=folder,
        volumes=pd.DataFrame(rows, columns=["volume_id", "study_id", "path", "header"]),
        reports=without_reports(studies, splits),
        labels=_labels(folder) if paths else None,
        name="rad_chest_ct",
        has_reports=False,
    )


def _patients(folder: Path) -> dict[str, str]:
    """Return the patient of every scan; where the metadata are not there, each is its own."""
    try:
        path = find_table(folder, "CT_Scan_Metadata_Complete_35747.csv")
    except DataError:
        log.warning("%s: no CT_Scan_Metadata_Complete_35747.csv; each scan counts as a patient",
                    folder)  # fmt: skip
        return {}
    table = read_table(path, ["NoteAcc_DEID", "MRN_DEID"])
    scans = table.NoteAcc_DEID.str.removesuffix(".npz")
    return dict(zip(scans, table.MRN_DEID, strict=True))


def _labels(folder: Path) -> pd.DataFrame:
    """Return the 16 labels, from the published tables if they are there, else from condensed."""
    raw = sorted(path for path in folder.rglob(_RAW) if "imgall" not in path.name)
    if raw:
        labels = pd.concat([_condense(path) for path in raw], ignore_index=True)
    else:
        labels = _condensed(find_table(folder, "labels.csv", "rad_labels.csv"))
    _refuse_equal_effusions(labels, folder)
    return labels.drop_duplicates("study_id")


def _condense(path: Path) -> pd.DataFrame:
    """Return the labels of a published table; a label is positive at any location."""
    table = read_table(path, ["NoteAcc_DEID"])
    labels = pd.DataFrame({"study_id": table.NoteAcc_DEID.str.removesuffix(".npz")})
    values = table.drop(columns="NoteAcc_DEID").apply(pd.to_numeric, errors="coerce").fillna(0)
    abnormality = values.columns.str.partition("*").get_level_values(0)
    for name in RAD_CHEST_CT:
        wanted = RAD_CHEST_CT_ABNORMALITIES[name]
        columns = values.columns[abnormality.isin(wanted)]
        if not len(columns):
            raise DataError(
                complain(
                    f"{path}: no column {wanted[0]}*location",
                    "the columns of the published tables",
                    "Download it again.",
                ),
                "missing_column",
            )
        labels[name] = (values[columns].max(axis=1) > 0).astype(int)
    return labels


def _condensed(path: Path) -> pd.DataFrame:
    """Return the labels of a table that somebody has condensed to 16 columns."""
    table = label_columns(path, "NoteAcc_DEID", RAD_CHEST_CT, f"Use the published tables {_RAW}.")
    values = table[list(RAD_CHEST_CT)].apply(pd.to_numeric, errors="coerce")
    if not values.isin([0, 1]).all(axis=None):
        raise DataError(
            complain(
                f"{path}: labels other than 0 and 1",
                "0 or 1 in every cell",
                f"Use the published tables {_RAW}.",
            ),
            "unknown_label",
        )
    labels = values.astype(int)
    labels.insert(0, "study_id", table.NoteAcc_DEID.str.removesuffix(".npz"))
    return labels


def _refuse_equal_effusions(labels: pd.DataFrame, folder: Path) -> None:
    """Refuse the condensed tables in circulation: one effusion stands there twice (18.3)."""
    first, second = (labels[name] for name in _EFFUSIONS)
    if first.any() and (first == second).all():
        raise DataError(
            complain(
                f"{folder}: the columns {' and '.join(_EFFUSIONS)} are the same in all "
                f"{len(labels)} scans, so one of them is wrong",
                "two findings that differ",
                f"Put the published tables {_RAW} there; labels are then made from them.",
            ),
            "duplicated_label",
        )
