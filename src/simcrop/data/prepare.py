"""Archive to store: read every volume once, put it on the contract's grid, write down the rest.

One bad volume is recorded in `refused.csv` and the others go on. Finished volumes are not done
twice, volumes are spread over processes, and the tables are written last and whole.
"""

import json
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import SimpleITK as sitk  # noqa: N813

from simcrop.data.archive import Archive, is_safe_name, read_archive, shared_reports
from simcrop.data.archives import Draw, read_public_set
from simcrop.data.atomic import atomic_path
from simcrop.data.contract import STORED, Contract
from simcrop.data.jobs import Job, Record, Row, finished, run_job
from simcrop.data.splits import split_patients
from simcrop.data.stated import rescale_state
from simcrop.data.store import CONTRACT_FILE, read_contract
from simcrop.data.store_tables import write_tables
from simcrop.errors import DataError, complain
from simcrop.report.sections import Report, make_report

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PrepareSummary:
    """What a run of `prepare` did.

    Attributes:
        num_prepared: volumes written by this run.
        num_skipped: volumes that an earlier run had finished.
        num_refused: volumes that are not in the store; `refused.csv` says why.
        num_masks_refused: masks and label maps that are not in the store, likewise.
    """

    num_prepared: int
    num_skipped: int
    num_refused: int
    num_masks_refused: int


def prepare(
    archive_dir: Path | str,
    store_dir: Path | str,
    contract: Contract,
    *,
    workers: int = 1,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    keep_patient_ids: bool = False,
    overwrite: bool = False,
    root: Path | str | None = None,
    layout: str = "tables",
    paper_lists: Path | str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> PrepareSummary:
    """Prepare every volume of an archive; run it again to continue where it stopped.

    Args:
        archive_dir: the folder with `volumes.csv` and `reports.csv`.
        store_dir: a new folder, or a store made under the same contract.
        contract: the preprocessing.
        workers: processes; 1 or less runs in this one. Each holds one volume in memory.
        val_fraction: share of patients for validation, unless the archive gives a `split`.
        test_fraction: share of patients for testing, likewise.
        split_seed: another seed draws other patients.
        keep_patient_ids: write the archive's patient_id instead of `patient_00001`.
        overwrite: prepare finished volumes again, and change the contract of an existing store.
        root: where relative paths of the archive start, if not in its folder.
        layout: `tables`, or the name of a public set that lies there as published.
        paper_lists: folder with the authors' lists, for the split named paper_split.
        on_progress: called with the number of volumes done and the number of all.

    Raises:
        DataError: if a table of the archive is faulty, the store belongs to another contract, or
            a worker process dies.
        ValueError: if the fractions leave no patient to train on.
    """
    store = Path(store_dir)
    if layout == "tables":
        archive = read_archive(archive_dir, root)
    else:
        drawn = Draw(val_fraction, test_fraction, split_seed)
        archive = read_public_set(archive_dir, layout, drawn, paper_lists)
    splits = _splits(archive.reports, val_fraction, test_fraction, split_seed)
    headers = archive.volumes.get("header", pd.Series(dtype=str))
    contract = replace(contract, rescale=rescale_state(headers, Path(archive_dir)))
    _open_store(store, contract, overwrite)
    reports, faults = _read_reports(archive)
    jobs, refused = _plan(archive, reports, faults)
    records = {} if overwrite else _find_finished(jobs, contract, store)
    num_skipped = len(records)
    for job, record in _run(
        [job for job in jobs if job.volume_id not in records], contract, store, workers
    ):
        records[job.volume_id] = record
        if on_progress is not None:
            on_progress(len(records), len(jobs))
    in_order = [records[job.volume_id] for job in jobs]
    num_refused = len(refused) + sum(record.manifest is None for record in in_order)
    refused += [row for record in in_order for row in record.refused] + _orphans(archive)
    names = _names_of_patients(archive.reports, keep_patient_ids)
    write_tables(store, archive, reports, in_order, refused, names, splits)
    return PrepareSummary(
        num_prepared=len(archive.volumes) - num_skipped - num_refused,
        num_skipped=num_skipped,
        num_refused=num_refused,
        num_masks_refused=len(refused) - num_refused,
    )


def _open_store(store: Path, contract: Contract, overwrite: bool) -> None:
    """Make the folder of a store, or check that an existing one was made under this contract."""
    if (store / CONTRACT_FILE).exists():
        differences = contract.differences(read_contract(store), (*STORED, "rescale"))
        if differences and not overwrite:
            raise DataError(
                complain(
                    f"{store}: a store made under another contract ({'; '.join(differences)})",
                    f"contract {contract.hash}",
                    "Use another folder, or overwrite it.",
                )
            )
    elif store.exists() and any(store.iterdir()):
        raise DataError(
            complain(f"{store}: a folder with other things in it", "a store or a new folder",
                     "Choose another folder.")
        )  # fmt: skip
    with atomic_path(store / CONTRACT_FILE) as temporary:
        values = contract.to_dict() | {"hash": contract.hash}
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _read_reports(archive: Archive) -> tuple[dict[str, Report], dict[str, str]]:
    """Return the usable report of every study, and what is wrong with the others."""
    reports, faults = {}, {}
    # CT-RATE is known to repeat some reports; its test sets are compared as they are
    shared = {} if archive.name else shared_reports(archive.reports)
    for row in _rows(archive.reports):
        if row["study_id"] in shared:
            faults[row["study_id"]] = complain(
                f"the findings are word for word those of {shared[row['study_id']]}, a study of "
                "another patient", "a report of its own", "Correct it or remove the study."
            )  # fmt: skip
            continue
        try:
            report = make_report(row["findings"], row["impression"], row.get("sentences", ""))
        except DataError as error:
            faults[row["study_id"]] = str(error)
            continue
        if report.is_empty and archive.has_reports:
            faults[row["study_id"]] = complain(
                "empty report", "findings or impression", "Fill it in or remove the study."
            )
        else:
            reports[row["study_id"]] = report
    return reports, faults


def _plan(
    archive: Archive, reports: dict[str, Report], faults: dict[str, str]
) -> tuple[list[Job], list[Row]]:
    """Return one job per volume that may be prepared, and a row for each that may not."""
    masks: dict[str, list[Row]] = {}
    for row in _rows(archive.masks):
        masks.setdefault(row["study_id"], []).append(row)
    anatomy = {row["volume_id"]: row for row in _rows(archive.anatomy)}
    jobs, refused = [], []
    for row in _rows(archive.volumes):
        volume_id, study_id = row["volume_id"], row["study_id"]
        job = Job(
            volume_id, study_id, row["path"], tuple(masks.get(study_id, ())),
            anatomy.get(volume_id, {}).get("path", ""), archive.root, row.get("header", ""),
            anatomy.get(volume_id, {}).get("values", ""),
        )  # fmt: skip
        if fault := _row_fault(job, reports, faults):
            stage, reason = fault
            refused.append(job.refusal(job.path, stage, reason))
        else:
            jobs.append(job)
    return jobs, refused


def _row_fault(
    job: Job, reports: dict[str, Report], faults: dict[str, str]
) -> tuple[str, str] | None:
    """Return the stage and the reason for which a row cannot be prepared, or None."""
    if not (is_safe_name(job.volume_id) and is_safe_name(job.study_id)):
        found = f"volume_id {job.volume_id!r}, study_id {job.study_id!r}"
        expected = "letters, digits, dot, underscore and hyphen, as they name files"
        return "table", complain(found, expected, "Rename it in every table.")
    if not job.path:
        return "table", complain("no path", "the volume's file or folder", "Fill it in.")
    if job.study_id not in reports:
        missing = complain("no report of this study", "a row in reports.csv", "Add it.")
        return "report", faults.get(job.study_id, missing)
    return None


def _orphans(archive: Archive) -> list[Row]:
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
             "reason": reason}
            for row in _rows(table) if row[key] not in known
        ]  # fmt: skip
    return found


def _rows(table: pd.DataFrame | None) -> list[Row]:
    """Return the rows of a table as dictionaries; none if there is no table."""
    rows = [] if table is None else table.to_dict("records")
    return [{str(name): cell for name, cell in row.items()} for row in rows]


def _find_finished(jobs: list[Job], contract: Contract, store: Path) -> dict[str, Record]:
    found = {job.volume_id: finished(job, contract, store) for job in jobs}
    return {volume_id: record for volume_id, record in found.items() if record is not None}


def _run(
    jobs: list[Job], contract: Contract, store: Path, workers: int
) -> Iterator[tuple[Job, Record]]:
    """Yield every job with its record, as it finishes."""
    work = partial(run_job, contract=contract, store=store)
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield job, work(job)
        return
    # A forked copy of a process that already runs threads may hang; a spawned one starts clean.
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_use_one_thread) as pool:
        futures = {pool.submit(work, job): job for job in jobs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise DataError(
                complain(
                    "a worker process died, most likely for want of memory",
                    "room for one volume per worker",
                    "Run again with fewer workers; finished volumes are kept.",
                )
            ) from error


def _use_one_thread() -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _names_of_patients(reports: pd.DataFrame, keep: bool) -> dict[str, str]:
    """Return the name in the store of every patient, numbered in order of appearance."""
    patients = reports.patient_id.unique()
    return {patient: patient if keep else f"patient_{number:05d}"
            for number, patient in enumerate(patients, start=1)}  # fmt: skip


def _splits(
    reports: pd.DataFrame, val_fraction: float, test_fraction: float, seed: int
) -> dict[str, str]:
    """Return the split of every patient: as the archive says, else drawn.

    Drawn among all patients of the archive, refused or not, so that a volume which is repaired
    later moves nobody.
    """
    if "split" in reports.columns:
        return dict(zip(reports.patient_id, reports["split"], strict=True))
    return split_patients(reports.patient_id, val_fraction, test_fraction, seed)
