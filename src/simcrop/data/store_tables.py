"""The tables of a store, written from the archive and the records of its volumes.

Order follows the archive, so the bytes do not depend on which volume finished first.
"""

import json
from pathlib import Path

import pandas as pd

from simcrop.data.archive import Archive
from simcrop.data.atomic import atomic_path
from simcrop.data.records import Record, Row
from simcrop.report.sections import Report

_COLUMNS = {
    "manifest": ["volume_id", "study_id", "patient_id", "path", "nx", "ny", "nz", "bytes",
                 "source_format", "native_grid", "series"],
    "reports": ["study_id", "patient_id", "findings", "impression", "sentences"],
    "splits": ["patient_id", "split"],
    "refused": ["volume_id", "study_id", "path", "stage", "kind", "reason"],
}  # fmt: skip


def write_tables(
    store: Path,
    archive: Archive,
    reports: dict[str, Report],
    records: list[Record],
    refused: list[Row],
    names: dict[str, str],
    splits: dict[str, str],
) -> None:
    """Write every table of a store; studies and patients without a volume are left out.

    Args:
        store: the folder.
        archive: gives order, patients, labels and the names of the anatomy.
        reports: the usable report of every study.
        records: of all prepared volumes, in the order of the archive.
        refused: rows of `refused.csv`.
        names: the name in the store of every patient.
        splits: the split of every patient.
    """
    patient_of = dict(zip(archive.reports.study_id, archive.reports.patient_id, strict=True))
    manifest = [record.manifest for record in records if record.manifest is not None]
    studies = {row["study_id"] for row in manifest}
    kept = [study_id for study_id in patient_of if study_id in studies]
    tables = {
        "refused": refused,
        "reports": [_report_row(study, names[patient_of[study]], reports[study]) for study in kept],
        "splits": [{"patient_id": names[patient], "split": splits[patient]}
                   for patient in dict.fromkeys(patient_of[study] for study in kept)],
        "manifest": [row | {"patient_id": names[patient_of[row["study_id"]]]} for row in manifest],
    }  # fmt: skip
    for name in ("masks", "anatomy", "labels", "anatomy_names", "paper_split"):
        (store / f"{name}.csv").unlink(missing_ok=True)
    if masks := [row for record in records for row in record.masks]:
        _write(store / "masks.csv", pd.DataFrame(masks).drop(columns="value"))
    if anatomy := [record.anatomy for record in records if record.anatomy]:
        _write(store / "anatomy.csv", pd.DataFrame(anatomy))
        if archive.anatomy_names is not None:
            _write(store / "anatomy_names.csv", archive.anatomy_names)
    if archive.labels is not None:
        _write(store / "labels.csv", archive.labels[archive.labels.study_id.isin(studies)])
    if archive.paper_split is not None:
        is_stored = archive.paper_split.volume_id.isin([row["volume_id"] for row in manifest])
        _write(store / "paper_split.csv", archive.paper_split[is_stored])
    for name, rows in tables.items():  # the manifest last: with it the store is finished
        _write(store / f"{name}.csv", pd.DataFrame(rows, columns=_COLUMNS[name]))


def _report_row(study_id: str, patient_id: str, report: Report) -> Row:
    sentences = json.dumps(report.sentences, ensure_ascii=False) if report.sentences else ""
    return {"study_id": study_id, "patient_id": patient_id, "findings": report.findings,
            "impression": report.impression, "sentences": sentences}  # fmt: skip


def _write(path: Path, table: pd.DataFrame) -> None:
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
