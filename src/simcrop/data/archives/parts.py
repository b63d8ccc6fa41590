"""What the adapters of the public sets share: finding tables, drawing patients, paper's lists."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from simcrop.data.archive import Archive, read_table
from simcrop.data.label_names import standard_name
from simcrop.data.splits import split_patients
from simcrop.errors import DataError, complain

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Draw:
    """How patients are drawn: shares for val and test where the set names none, and the seed."""

    val_fraction: float = 0.1
    test_fraction: float = 0.2
    seed: int = 0

    def carve_val(self, part_of: dict[str, str]) -> dict[str, str]:
        """Return the parts of patients with `val` carved out of `train`; test stays untouched."""
        train = [patient for patient, part in part_of.items() if part == "train"]
        if not train:
            return part_of
        carved = split_patients(train, self.val_fraction, 0.0, self.seed)
        return part_of | carved

    def split(self, patients: list[str]) -> dict[str, str]:
        """Return the part of every patient of a set that names none."""
        return split_patients(patients, self.val_fraction, self.test_fraction, self.seed)


def find_table(folder: Path, *names: str) -> Path:
    """Return the first of these tables that lies in the folder, at most two folders below.

    Raises:
        DataError: if there is none.
    """
    for name in names:
        for pattern in (name, f"*/{name}", f"*/*/{name}"):
            if found := sorted(folder.glob(pattern)):
                return found[0]
    raise DataError(
        complain(
            f"{folder}: no {' or '.join(names)}",
            "the table where the set has it",
            "Download it; the tables are small.",
        ),
        "missing_table",
    )


def label_columns(path: Path, key: str, known: tuple[str, ...], remedy: str) -> pd.DataFrame:
    """Return a table with one column of text per label, by our names; `key` names the first column.

    Raises:
        DataError: if the columns after the first are not exactly the known labels.
    """
    table = read_table(path, [key])
    names = {column: standard_name(column, known) for column in table.columns[1:]}
    unknown = [column for column, name in names.items() if name is None]
    missing = sorted(set(known) - set(names.values()))
    if unknown or missing:
        raise DataError(
            complain(
                f"{path}: unknown label columns {unknown}, missing {missing}",
                f"{key} and the {len(known)} labels of the set",
                remedy,
            ),
            "unknown_label",
        )
    return table.rename(columns=names)[[key, *known]]


def without_reports(studies: list[tuple[str, str]], splits: dict[str, str]) -> pd.DataFrame:
    """Return the reports table of a set without texts, from (study, patient) pairs."""
    rows = [(study, patient, "", "", splits[patient]) for study, patient in studies]
    return pd.DataFrame(
        rows, columns=["study_id", "patient_id", "findings", "impression", "split"]
    ).drop_duplicates()


def with_paper_split(archive: Archive, folder: Path) -> Archive:
    """Return the archive with the authors' lists as a second split, for published numbers only.

    Their lists name volumes; where a volume is in the validation and the test list, as it is in
    three of the sets, its part is `val+test` and results say "selected on test".

    Raises:
        DataError: if a list is missing or names no volume of this set.
    """
    by_name = dict(
        zip(archive.volumes.volume_id.map(_bare), archive.volumes.volume_id, strict=True)
    )
    parts: dict[str, list[str]] = {}
    for part in ("train", "val", "test"):
        path = folder / f"{part}_list.csv"
        listed = read_table(path, [])
        names = listed.iloc[:, 0].map(_bare).tolist()
        if missing := [name for name in names if name not in by_name]:
            log.warning("%s: %d of %d volumes are not in this folder, the first %s",
                        path, len(missing), len(names), missing[0])  # fmt: skip
        if len(missing) == len(names):
            raise DataError(
                complain(f"{path}: none of its volumes is in the set", "names of the set's volumes",
                         "Give the lists of this set."), "unmatched_names")  # fmt: skip
        for name in set(names) & set(by_name):
            parts.setdefault(by_name[name], []).append(part)
    rows = [(volume, "+".join(parts[volume])) for volume in archive.volumes.volume_id
            if volume in parts]  # fmt: skip
    return replace(archive, paper_split=pd.DataFrame(rows, columns=["volume_id", "split"]))


def _bare(name: str) -> str:
    """Return what identifies a volume in every list: no ending; of CC-CCII the scan number."""
    for ending in (".nii.gz", ".npz", ".mhd"):
        name = name.removesuffix(ending)
    return name.rsplit("_", 1)[-1] if name.startswith(("NCP_", "CP_", "Normal_")) else name
