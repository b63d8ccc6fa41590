"""Look at every volume and table of an archive or a store, and write nothing into either.

An archive is judged by what `prepare` does: each volume is prepared into a temporary folder, looked
at and forgotten, so what passes here passes there. A worker holds one volume; what travels is a
histogram and three small slices.
"""

import json
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Int, Int16

from simcrop.data.archive import Archive, read_archive
from simcrop.data.archives import Draw, read_public_set
from simcrop.data.contract import Contract
from simcrop.data.executors import open_executor, run_all
from simcrop.data.jobs import Job, run_job
from simcrop.data.plan import make_jobs, orphans, usable_reports
from simcrop.data.records import Record, Row
from simcrop.data.store import CONTRACT_FILE, Store
from simcrop.data.volume import array_of
from simcrop.errors import DataError
from simcrop.geometry import VoxelGrid
from simcrop.report.sections import Report
from simcrop.report.sentences import split_sentences

HU_EDGES = np.arange(-1050, 1551, 50)  # of the histogram; what lies outside counts at its ends
_SLICE_VOXELS = 90  # of a small slice along an axis, about


@dataclass(frozen=True, eq=False)
class Look:
    """What one volume looks like.

    Attributes:
        volume_id: as in the tables.
        study_id: likewise.
        source_format: what it was read from.
        shape: voxels of the file along its own axes.
        spacing_mm: of the file along its own axes.
        histogram: prepared voxels per bin of `HU_EDGES`.
        slices: HU of the middle axial, coronal and sagittal slice, every n-th voxel, in RAS order.
        slice_mm: voxel size along x, y, z of these slices.
    """

    volume_id: str
    study_id: str
    source_format: str
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    histogram: Int[np.ndarray, " bins"]
    slices: tuple[Int16[np.ndarray, "_ _"], ...]
    slice_mm: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Checked:
    """What was found in an archive or a store.

    Attributes:
        folder: that was checked.
        what: "archive" or "store".
        contract: the preprocessing that volumes were judged by.
        looks: of every usable volume, in the order of the table.
        refused: rows as in `refused.csv`.
        num_volumes: rows of the table of volumes.
        patient_of: patient of every study.
        split_of: split of every study, where one is given.
        sentences: of the usable report of every study.
        labels: 0 and 1, indexed by study, or None.
    """

    folder: Path
    what: str
    contract: Contract
    looks: list[Look] = field(default_factory=list)
    refused: list[Row] = field(default_factory=list)
    num_volumes: int = 0
    patient_of: dict[str, str] = field(default_factory=dict)
    split_of: dict[str, str] = field(default_factory=dict)
    sentences: dict[str, list[str]] = field(default_factory=dict)
    labels: pd.DataFrame | None = None

    @property
    def kinds(self) -> Counter[str]:
        """How many refusals of each kind there are."""
        return Counter(str(row["kind"]) for row in self.refused)

    def summary(self) -> dict[str, Any]:
        """Return the counts as plain values for JSON; no patient is named."""
        used = {look.study_id for look in self.looks}
        return {
            "what": self.what,
            "contract": self.contract.to_dict() | {"hash": self.contract.hash},
            "num_volumes": self.num_volumes,
            "num_usable_volumes": len(self.looks),
            "num_studies": len(used),
            "num_patients": len({self.patient_of[study] for study in used}),
            "formats": dict(Counter(look.source_format for look in self.looks)),
            "splits": dict(Counter(self.split_of.get(study, "") for study in sorted(used))),
            "refused": dict(sorted(self.kinds.items())),
            "num_sentences": sum(map(len, self.sentences.values())),
            "labels": {} if self.labels is None else self.labels.mean().round(4).to_dict(),
        }


def check(
    folder: Path,
    contract: Contract,
    *,
    workers: int = 1,
    root: Path | None = None,
    layout: str = "tables",
    any_region: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Checked:
    """Check an archive, or a store if the folder is one.

    A fault that makes a whole table ambiguous is one refusal, and no volume is looked at.

    Args:
        folder: archive or store.
        contract: of the preparation to come; a store has its own.
        workers: processes.
        root: where relative paths of the archive start, if not in its folder.
        layout: `tables`, or the name of a public set.
        any_region: take volumes without lungs in view.
        on_progress: called with the number of volumes looked at and of all.
    """
    is_store = (folder / CONTRACT_FILE).exists()
    try:
        if is_store:
            return _check_store(Store(folder), workers, on_progress)
        archive = (
            read_archive(folder, root)
            if layout == "tables"
            else read_public_set(folder, layout, Draw())
        )
    except DataError as error:
        what = "store" if is_store else "archive"
        return Checked(folder, what, contract, refused=[_table_row(error)])
    return _check_archive(archive, folder, contract, workers, any_region, on_progress)


def _table_row(error: DataError) -> Row:
    return {"volume_id": "", "study_id": "", "path": "", "stage": "table", "kind": error.kind,
            "reason": str(error)}  # fmt: skip


def _check_archive(
    archive: Archive,
    folder: Path,
    contract: Contract,
    workers: int,
    any_region: bool,
    on_progress: Callable[[int, int], None],
) -> Checked:
    reports, faults = usable_reports(archive)
    jobs, refused = make_jobs(archive, reports, faults, any_region=any_region)
    looks: dict[str, Look] = {}
    rows: dict[str, list[Row]] = {}
    with open_executor(min(workers, len(jobs))) as executor:
        work = partial(_look_at_source, contract=contract)
        for number, (job, (look, found)) in enumerate(run_all(work, jobs, executor), start=1):
            rows[job.volume_id] = found
            if look is not None:
                looks[job.volume_id] = look
            on_progress(number, len(jobs))
    table = archive.reports
    splits = table["split"] if "split" in table.columns else [""] * len(table)
    return Checked(
        folder=folder,
        what="archive",
        contract=contract,
        looks=[looks[job.volume_id] for job in jobs if job.volume_id in looks],
        refused=refused + [row for job in jobs for row in rows[job.volume_id]] + orphans(archive),
        num_volumes=len(archive.volumes),
        patient_of=dict(zip(table.study_id, table.patient_id, strict=True)),
        split_of=dict(zip(table.study_id, splits, strict=True)),
        sentences={study: _sentences(report) for study, report in reports.items()},
        labels=None if archive.labels is None else archive.labels.set_index("study_id"),
    )


def _check_store(store: Store, workers: int, on_progress: Callable[[int, int], None]) -> Checked:
    looks, refused = {}, []
    volumes = store.volume_ids()
    with open_executor(min(workers, len(volumes))) as executor:
        work = partial(_look_at_stored, store)
        for number, (volume, seen) in enumerate(run_all(work, volumes, executor), start=1):
            if isinstance(seen, Look):
                looks[volume] = seen
            else:
                study, path = store.study_of(volume), str(store.volumes.at[volume, "path"])
                refused.append(_table_row(seen) | {"volume_id": volume, "study_id": study,
                                                   "path": path, "stage": "volume"})  # fmt: skip
            on_progress(number, len(volumes))
    studies = list(store.reports.index)
    split_of = {store.study_of(v): split for split in ("train", "val", "test")
                for v in store.volume_ids(split)}  # fmt: skip
    return Checked(
        folder=store.folder,
        what="store",
        contract=store.contract,
        looks=[looks[volume] for volume in volumes if volume in looks],
        refused=refused,
        num_volumes=len(volumes),
        patient_of={str(s): str(p) for s, p in store.reports["patient_id"].items()},
        split_of=split_of,
        sentences={study: _sentences(store.report(study)) for study in studies},
        labels=store.labels,
    )


def _sentences(report: Report) -> list[str]:
    return list(report.sentences) or split_sentences(report.findings)


def _look_at_source(job: Job, contract: Contract) -> tuple[Look | None, list[Row]]:
    """Prepare a volume with its masks, look at it, and keep nothing."""
    with tempfile.TemporaryDirectory(prefix="simcrop-") as folder:
        record: Record = run_job(job, contract, Path(folder))
        row = record.manifest
        if row is None:
            return None, record.refused
        hu = array_of(sitk.ReadImage(str(Path(folder) / row["path"])))
    return _look(row, hu, contract), record.refused


def _look_at_stored(store: Store, volume: str) -> Look | DataError:
    try:
        hu, _ = store.read_hu(volume)
        row = {"volume_id": volume} | {str(k): v for k, v in store.volumes.loc[volume].items()}
        return _look(row, hu, store.contract)
    except DataError as error:
        return error


def _look(row: Row, hu: Int16[np.ndarray, "x y z"], contract: Contract) -> Look:
    native = VoxelGrid.from_json(str(row["native_grid"]))
    low, high = HU_EDGES[0], HU_EDGES[-1] - 1
    histogram, _ = np.histogram(np.clip(hu[::2, ::2, ::2], low, high), HU_EDGES)
    x, y, z = (n // 2 for n in hu.shape)
    a, b, c = steps = [max(1, n // _SLICE_VOXELS) for n in hu.shape]
    slices = (hu[::a, ::b, z], hu[::a, y, ::c], hu[x, ::b, ::c])
    return Look(
        volume_id=str(row["volume_id"]),
        study_id=str(row["study_id"]),
        source_format=str(row["source_format"]),
        shape=native.shape,
        spacing_mm=tuple(np.linalg.norm(native.affine[:3, :3], axis=0).round(4).tolist()),
        histogram=histogram,
        slices=tuple(part.copy() for part in slices),
        slice_mm=tuple(n * mm for n, mm in zip(steps, contract.spacing_mm, strict=True)),
    )


def write_summary(checked: Checked, folder: Path) -> None:
    """Write `check.json` and `refused.csv` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "check.json").write_text(json.dumps(checked.summary(), indent=2), encoding="utf-8")
    columns = ["volume_id", "study_id", "path", "stage", "kind", "reason"]
    pd.DataFrame(checked.refused, columns=columns).to_csv(folder / "refused.csv", index=False)
