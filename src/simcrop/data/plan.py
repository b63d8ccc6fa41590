"""What `prepare` has to do: one job per volume that may be prepared, a reason for each other row.

Only tables are looked at here; no volume is opened.
"""

from dataclasses import replace

import pandas as pd

from simcrop.data.archive import Archive, is_safe_name, shared_reports
from simcrop.data.jobs import Job
from simcrop.data.records import Row
from simcrop.data.stated import StatedHeader
from simcrop.errors import DataError, complain
from simcrop.report.sections import Report, make_report


def usable_reports(archive: Archive) -> tuple[dict[str, Report], dict[str, DataError]]:
    """Return the usable report of every study, and what is wrong with the others."""
    reports, faults = {}, {}
    # CT-RATE is known to repeat some reports; its test sets are compared as they are
    shared = {} if archive.name else shared_reports(archive.reports)
    for row in _rows(archive.reports):
        study_id = row["study_id"]
        if study_id in shared:
            found = (
                f"the findings are word for word those of {shared[study_id]}, a study of another"
            )
            faults[study_id] = DataError(
                complain(f"{found} patient", "a report of its own", "Correct it or remove it."),
                "shared_report",
            )
            continue
        try:
            report = make_report(row["findings"], row["impression"], row.get("sentences", ""))
        except DataError as error:
            faults[study_id] = error
            continue
        if report.is_empty and archive.has_reports:
            faults[study_id] = DataError(
                complain(
                    "empty report", "findings or impression", "Fill it in or remove the study."
                ),
                "empty_report",
            )
        else:
            reports[study_id] = report
    return reports, faults


def make_jobs(
    archive: Archive,
    reports: dict[str, Report],
    faults: dict[str, DataError],
    *,
    any_region: bool = False,
) -> tuple[list[Job], list[Row]]:
    """Return one job per volume that may be prepared, and a row for each that may not.

    Args:
        archive: its tables.
        reports: the usable ones.
        faults: what is wrong with the others.
        any_region: take volumes without lungs in view.
    """
    masks: dict[str, list[Row]] = {}
    for row in _rows(archive.masks):
        masks.setdefault(row["study_id"], []).append(row)
    anatomy = {row["volume_id"]: row for row in _rows(archive.anatomy)}
    jobs, refused = [], []
    for row in _rows(archive.volumes):
        label_map = anatomy.get(row["volume_id"], {})
        job = Job(
            volume_id=row["volume_id"],
            study_id=row["study_id"],
            path=row["path"],
            masks=tuple(masks.get(row["study_id"], ())),
            anatomy=label_map.get("path", ""),
            root=archive.root,
            header=row.get("header", ""),
            anatomy_values=label_map.get("values", ""),
            needs_lungs=archive.has_lungs and not any_region,
        )
        try:
            _check_row(job, reports, faults)
            jobs.append(replace(job, header=_with_series(job.header, row.get("series", ""))))
        except DataError as error:
            stage = "report" if job.study_id not in reports else "table"
            refused.append(job.refusal(job.path, stage, error))
    return jobs, refused


def _with_series(header: str, series: str) -> str:
    """Return the stated header with the number of the series to read, if one is named."""
    if not series:
        return header
    if not series.isdigit():
        found = f"series {series!r} in volumes.csv"
        raise DataError(complain(found, "a number from 1", "Correct it."), "no_series")
    stated = StatedHeader.from_json(header) if header else StatedHeader()
    return replace(stated, series=int(series)).to_json()


def _check_row(job: Job, reports: dict[str, Report], faults: dict[str, DataError]) -> None:
    """Refuse a row that cannot be prepared, before its volume is opened."""
    if not (is_safe_name(job.volume_id) and is_safe_name(job.study_id)):
        found = f"volume_id {job.volume_id!r}, study_id {job.study_id!r}"
        expected = "letters, digits, dot, underscore and hyphen, as they name files"
        raise DataError(complain(found, expected, "Rename it in every table."), "unsafe_name")
    if job.study_id not in reports:
        missing = complain("no report of this study", "a row in reports.csv", "Add it.")
        raise faults.get(job.study_id, DataError(missing, "missing_report"))
    if not job.path:
        expected = "the volume's file or folder"
        raise DataError(complain("no path", expected, "Fill it in."), "missing_file")


def orphans(archive: Archive) -> list[Row]:
    """Return a row of `refused.csv` for every mask and label map that belongs to no volume."""
    found = []
    for stage, table, key in (
        ("mask", archive.masks, "study_id"),
        ("anatomy", archive.anatomy, "volume_id"),
    ):
        known = set(archive.volumes[key])
        reason = complain(f"no volume has this {key}", f"a {key} of volumes.csv", "Correct it.")
        found += [
            {"volume_id": "", "study_id": "", key: row[key], "path": row["path"], "stage": stage,
             "kind": "no_volume", "reason": reason}
            for row in _rows(table) if row[key] not in known
        ]  # fmt: skip
    return found


def _rows(table: pd.DataFrame | None) -> list[Row]:
    """Return the rows of a table as dictionaries; none if there is no table."""
    rows = [] if table is None else table.to_dict("records")
    return [{str(name): cell for name, cell in row.items()} for row in rows]
