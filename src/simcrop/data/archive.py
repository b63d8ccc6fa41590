"""What users have: a folder with tables of volumes, reports, labels and masks.

`docs/explanation/data-formats.md` shows a whole archive. Faults that make a table ambiguous
(missing columns, an identifier twice, a study of two patients) stop everything here; faults of
one volume are left to `prepare`, which records them and goes on.
"""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from simcrop.data.label_names import CT_RATE, RAD_CHEST_CT
from simcrop.errors import DataError, complain

SPLITS = ("train", "val", "test")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_COPIED_WORDS = 40
_NUMBER = re.compile(r"\d")
_BINARY = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}  # pandas writes 1.0 where a column had gaps


@dataclass(frozen=True, eq=False)
class Archive:
    """The tables of a study archive, as validated text; a missing cell is "".

    Attributes:
        root: where relative paths start; the folder above it is tried next.
        volumes: volume_id, study_id, path; header if the table states what the file does not;
            series to name one of several DICOM series.
        reports: study_id, patient_id, findings, impression; sentences and split if given.
        labels: study_id and one column of 0 and 1 (integers) per label.
        masks: study_id, path, value, and sentence or label; further columns are kept.
        anatomy: volume_id, path of a label map per volume; values renumbers it if given.
        anatomy_names: value, name of what the label maps show.
        name: of the public set, or "" for an archive of tables.
        has_lungs: False for sets of other regions, whose volumes are not asked for lungs.
        has_reports: False for sets of volumes and labels, none of whose studies has text.
        paper_split: volume_id and split as the paper's authors used them, for comparison only.
    """

    root: Path
    volumes: pd.DataFrame
    reports: pd.DataFrame
    labels: pd.DataFrame | None = None
    masks: pd.DataFrame | None = None
    anatomy: pd.DataFrame | None = None
    anatomy_names: pd.DataFrame | None = None
    name: str = ""
    has_reports: bool = True
    has_lungs: bool = True
    paper_split: pd.DataFrame | None = None


def read_archive(folder: Path | str, root: Path | str | None = None) -> Archive:
    """Read and check the tables of an archive; no volume is opened.

    Args:
        folder: holds `volumes.csv`, `reports.csv` and the optional tables.
        root: where relative paths start, if not in `folder`.

    Raises:
        DataError: if a table is missing, not UTF-8, lacks a column, or contradicts itself.
    """
    folder = Path(folder)
    volumes = read_table(folder / "volumes.csv", ["volume_id", "study_id", "path"])
    reports = read_table(
        folder / "reports.csv", ["study_id", "patient_id", "findings", "impression"]
    )
    check_studies(volumes, reports, folder / "volumes.csv", folder / "reports.csv")
    return Archive(
        root=Path(root) if root is not None else folder,
        volumes=volumes,
        reports=reports,
        labels=_read_labels(folder / "labels.csv"),
        masks=_read_masks(folder / "masks.csv"),
        anatomy=_read_optional(folder / "anatomy.csv", ["volume_id", "path"]),
        anatomy_names=_read_optional(folder / "anatomy_names.csv", ["value", "name"]),
        has_reports=bool((reports.findings + reports.impression).str.len().any()),
    )


def check_studies(
    volumes: pd.DataFrame, reports: pd.DataFrame, volumes_file: Path, reports_file: Path
) -> None:
    """Refuse tables that contradict themselves.

    Raises:
        DataError: for an identifier twice, a study without patient, a patient in two splits.
    """
    _refuse_repeats(volumes_file, volumes.volume_id)
    _refuse_repeats(reports_file, reports.study_id)
    _check_patients(reports_file, reports)


def shared_reports(reports: pd.DataFrame) -> dict[str, str]:
    """Return, for each study whose findings are also another patient's, that other study.

    Only texts with a number in them and of 40 words or more count: two patients may share a text
    in which everything is normal, but hardly one that measures something. The first study of each
    text keeps it.
    """
    first: dict[str, tuple[str, str]] = {}
    shared = {}
    columns = (reports["study_id"], reports["patient_id"], reports["findings"])
    for study, patient, findings in zip(*columns, strict=True):
        words = findings.lower().split()
        if len(words) < _COPIED_WORDS or not _NUMBER.search(findings):
            continue
        owner, owning_patient = first.setdefault(" ".join(words), (study, patient))
        if owning_patient != patient:
            shared[study] = owner
    return shared


def resolve(root: Path, path: str) -> Path:
    """Return where a path of a table leads: absolute, below the root, or below the folder above."""
    below, beside = root / path, root.parent / path
    return beside if beside.exists() and not below.exists() else below


def is_safe_name(identifier: str) -> bool:
    """Return whether an identifier can name a file: letters, digits, dot, underscore, hyphen."""
    return _SAFE_NAME.fullmatch(identifier) is not None


def read_table(path: Path, columns: list[str]) -> pd.DataFrame:
    """Return a table as text, spaces around cells removed; a missing cell is "".

    Raises:
        DataError: if there is none, it is not a UTF-8 CSV table, or a column is missing.
    """
    found, kind = None, "missing_table"
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except FileNotFoundError:
        found = "no such table"
    except UnicodeDecodeError:
        found, kind = "not UTF-8 text", "wrong_encoding"
    except (pd.errors.EmptyDataError, pd.errors.ParserError):
        found, kind = "not a table", "not_a_table"
    if found:
        raise DataError(
            complain(
                f"{path}: {found}",
                f"a UTF-8 CSV file with the columns {', '.join(columns)}",
                "Save it as `CSV UTF-8`; see docs/explanation/data-formats.md.",
            ),
            kind,
        )
    table = table.rename(columns=str.strip).fillna("").apply(lambda cells: cells.str.strip())
    if missing := [name for name in columns if name not in table.columns]:
        raise DataError(
            complain(
                f"{path}: no column {', '.join(missing)} among {', '.join(table.columns)}",
                f"the columns {', '.join(columns)}",
                "Rename the columns, and separate them by commas.",
            ),
            "missing_column",
        )
    return table


def _read_optional(path: Path, columns: list[str]) -> pd.DataFrame | None:
    return read_table(path, columns) if path.exists() else None


def _check_patients(path: Path, reports: pd.DataFrame) -> None:
    """Refuse studies without a patient, unknown splits and a patient in two splits."""
    _refuse(
        path,
        reports.study_id[reports.patient_id == ""],
        "studies without patient_id",
        "a patient for every study",
        "Use the study_id where the patient is unknown.",
        "no_patient",
    )
    if "split" not in reports.columns:
        return
    _refuse(
        path,
        reports["split"][~reports["split"].isin(SPLITS)].drop_duplicates(),
        "splits named",
        " or ".join(SPLITS),
        "Rename them, or drop the column to have patients drawn.",
        "unknown_split",
    )
    num_splits = reports.groupby("patient_id")["split"].nunique()
    _refuse(
        path,
        num_splits.index[num_splits > 1].to_series(),
        "patients in more than one split",
        "all studies of a patient in one split",
        "Move them.",
        "patient_in_two_splits",
    )


def _read_labels(path: Path) -> pd.DataFrame | None:
    labels = _read_optional(path, ["study_id"])
    if labels is None:
        return None
    _refuse_repeats(path, labels.study_id)
    for name in labels.columns.drop("study_id"):
        _refuse_near_miss(path, name)
        _refuse(
            path,
            labels.study_id[~labels[name].isin(list(_BINARY))],
            f'cells of label "{name}" that are not 0 or 1 in studies',
            "0 or 1 in every cell",
            "Drop the column, or the rows of studies that were not annotated.",
            "unknown_label",
        )
        labels[name] = labels[name].map(_BINARY).astype(int)
    return labels


def _refuse_near_miss(path: Path, name: str) -> None:
    """Refuse a label that is almost one of ours: it would be taken for a label of its own."""
    names: dict[str, str] = {label.lower(): label for label in (*CT_RATE, *RAD_CHEST_CT)}
    near = get_close_matches(name.lower(), names, n=1, cutoff=0.85)
    if near and names[near[0]] != name:
        raise DataError(
            complain(
                f'{path}: label "{name}"',
                f'"{names[near[0]]}", which it resembles, or a name of its own',
                "Rename the column.",
            ),
            "unknown_label",
        )


def _read_masks(path: Path) -> pd.DataFrame | None:
    masks = _read_optional(path, ["study_id", "path", "value"])
    if masks is None:
        return None
    if not {"sentence", "label"} & set(masks.columns):
        raise DataError(
            complain(
                f"{path}: neither a column sentence nor a column label",
                "at least one of them",
                "Name what each mask shows.",
            ),
            "missing_column",
        )
    is_number = pd.to_numeric(masks.value, errors="coerce").notna()
    _refuse(
        path,
        masks.value[~is_number],
        "values that are no numbers",
        "the number that the mask has where it shows the thing",
        "Write 1 for a mask of zeros and ones.",
        "bad_mask_value",
    )
    return masks


def _refuse_repeats(path: Path, identifiers: pd.Series) -> None:
    _refuse(
        path,
        identifiers[identifiers.duplicated()],
        f"{identifiers.name} on more than one row",
        "every identifier once",
        "Keep one of the rows.",
        "duplicate_identifier",
    )


def _refuse(
    path: Path, culprits: pd.Series, what: str, expected: str, remedy: str, kind: str
) -> None:
    """Raise if there are culprits, and name the first of them."""
    if len(culprits):
        named = ", ".join(map(repr, culprits[:5])) + (" ..." if len(culprits) > 5 else "")
        raise DataError(complain(f"{path}: {what}: {named}", expected, remedy), kind)
