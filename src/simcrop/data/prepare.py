"""Archive to store: read every volume once, put it on the contract's grid, write down the rest.

One bad volume is recorded in `refused.csv` and the others go on. Finished volumes are not done
twice, volumes are spread over processes, and the tables are written last and whole.
"""

import json
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd

from simcrop.data.archive import Archive, read_archive
from simcrop.data.archives import Draw, read_public_set
from simcrop.data.atomic import atomic_path, remove_unfinished
from simcrop.data.contract import STORED, Contract
from simcrop.data.executors import open_executor, run_all
from simcrop.data.jobs import JOB_FOLDERS, Job, finished, run_job
from simcrop.data.plan import make_jobs, orphans, usable_reports
from simcrop.data.records import Record
from simcrop.data.splits import split_patients
from simcrop.data.stated import rescale_state
from simcrop.data.store import CONTRACT_FILE, read_contract
from simcrop.data.store_tables import write_tables
from simcrop.errors import DataError, complain


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
    executor: Executor | str | None = None,
    shard: tuple[int, int] | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    keep_patient_ids: bool = False,
    any_region: bool = False,
    storage: str = "nii",
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
        executor: does the jobs instead; or `dask://host:port` of a cluster that sees both folders.
        shard: (i, n) does the i-th of n parts and writes no tables, so that n runs may go on at
            once, anywhere. A run without it then finishes the store.
        val_fraction: share of patients for validation, unless the archive gives a `split`.
        test_fraction: share of patients for testing, likewise.
        split_seed: another seed draws other patients.
        keep_patient_ids: write the archive's patient_id instead of `patient_00001`.
        any_region: take volumes without lungs in view as well.
        storage: `nii`, mapped into memory when read, or `nii.gz`, half as large.
        overwrite: prepare finished volumes again, and change the contract of an existing store.
        root: where relative paths of the archive start, if not in its folder.
        layout: `tables`, or the name of a public set that lies there as published.
        paper_lists: folder with the authors' lists, for the split named paper_split.
        on_progress: called with the number of volumes done and the number of all.

    Raises:
        DataError: if a table of the archive is faulty, the store belongs to another contract or
            cannot be written to, or a worker process dies.
        ValueError: if the fractions leave no patient to train on, or there is no such shard.
    """
    store = Path(store_dir).absolute()  # a worker elsewhere starts in another folder
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"shard {shard[0]} of {shard[1]}; expected 1 to {shard[1]}")
    drawn = Draw(val_fraction, test_fraction, split_seed)
    archive = _read(archive_dir, root, layout, drawn, paper_lists)
    splits = _splits(archive.reports, val_fraction, test_fraction, split_seed)
    headers = archive.volumes.get("header", pd.Series(dtype=str))
    contract = replace(contract, rescale=rescale_state(headers, Path(archive_dir)))
    with _telling_what_to_do(store):
        _open_store(store, contract, overwrite)
        reports, faults = usable_reports(archive)
        jobs, refused = make_jobs(archive, reports, faults, any_region=any_region)
        if shard is not None:
            jobs, refused = jobs[shard[0] - 1 :: shard[1]], []
        jobs = [replace(job, storage=storage) for job in jobs]
        records = {} if overwrite else _find_finished(jobs, contract, store)
        num_skipped = sum(record.manifest is not None for record in records.values())
        left = [job for job in jobs if job.volume_id not in records]
        for job, record in _run(left, contract, store, workers, executor):
            records[job.volume_id] = record
            if on_progress is not None:
                on_progress(len(records), len(jobs))
        in_order = [records[job.volume_id] for job in jobs]
        num_refused = len(refused) + sum(record.manifest is None for record in in_order)
        refused += [row for record in in_order for row in record.refused]
        if shard is None:
            refused += orphans(archive)
            _tidy(store)
            names = _names_of_patients(archive.reports, keep_patient_ids)
            write_tables(store, archive, reports, in_order, refused, names, splits)
    num_stored = sum(record.manifest is not None for record in in_order)
    return PrepareSummary(
        num_prepared=num_stored - num_skipped,
        num_skipped=num_skipped,
        num_refused=num_refused,
        num_masks_refused=len(refused) - num_refused,
    )


@contextmanager
def _telling_what_to_do(store: Path) -> Generator[None]:
    """Turn a failure to write into the store into an error that says how to go on.

    A source that cannot be read is refused where it is read, so an OSError is of the store.
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            complain(
                f"{error.filename or store}: cannot be written ({error.strerror or error})",
                "a store with room in it that you may write to",
                "Make room or choose another folder, and run again; finished volumes are kept.",
            ),
            kind="not_writable",
        ) from error


def _open_store(store: Path, contract: Contract, overwrite: bool) -> None:
    """Make the folder of a store, or check that an existing one was made under this contract."""
    # Looked at before the contract is: another shard writes that first, and other things later.
    things = (
        [path for path in store.iterdir() if not _is_unfinished(path)] if store.exists() else []
    )
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
        if not differences:
            return
    elif things:
        raise DataError(
            complain(f"{store}: a folder with other things in it", "a store or a new folder",
                     "Choose another folder.")
        )  # fmt: skip
    with atomic_path(store / CONTRACT_FILE, shared=True) as temporary:
        values = contract.to_dict() | {"hash": contract.hash}
        temporary.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _tidy(store: Path) -> None:
    """Remove what killed runs left; nobody else prepares this store now."""
    for path in filter(_is_unfinished, store.iterdir()):
        path.unlink(missing_ok=True)
    for folder in JOB_FOLDERS:
        remove_unfinished(store / folder)


def _is_unfinished(path: Path) -> bool:
    return path.name.startswith(".tmp-") and path.name.endswith(CONTRACT_FILE)


def _find_finished(jobs: list[Job], contract: Contract, store: Path) -> dict[str, Record]:
    found = {job.volume_id: finished(job, contract, store) for job in jobs}
    return {volume_id: record for volume_id, record in found.items() if record is not None}


def _run(
    jobs: list[Job], contract: Contract, store: Path, workers: int, executor: Executor | str | None
) -> Iterator[tuple[Job, Record]]:
    """Yield every job with its record, as it finishes."""
    work = partial(run_job, contract=contract, store=store)
    with open_executor(min(workers, len(jobs)), executor) as opened:
        yield from run_all(work, jobs, opened)


def _names_of_patients(reports: pd.DataFrame, keep: bool) -> dict[str, str]:
    """Return the name in the store of every patient, numbered in order of appearance."""
    patients = reports.patient_id.unique()
    return {patient: patient if keep else f"patient_{number:05d}"
            for number, patient in enumerate(patients, start=1)}  # fmt: skip


def _read(
    folder: Path | str, root: Path | str | None, layout: str, drawn: Draw,
    paper_lists: Path | str | None,
) -> Archive:  # fmt: skip
    if layout == "tables":
        archive = read_archive(folder, root)
    else:
        archive = read_public_set(folder, layout, drawn, paper_lists)
    return replace(archive, root=archive.root.absolute())


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
