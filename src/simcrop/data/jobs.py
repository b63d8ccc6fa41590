"""One volume of an archive into the store: the unit of work that `prepare` spreads and resumes.

A job writes the volume, its masks and its label map, and last a record of what it wrote or why it
refused. A record that matches the job and its files means the job is done; everything else is done
again. So a run may be killed anywhere, and the tables, which are made from the records, come out as
if it had not been.
"""

import hashlib
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from simcrop.data.archive import resolve
from simcrop.data.contract import Contract
from simcrop.data.lungs import check_lungs
from simcrop.data.preprocessing import check_extent, prepare_volume, resample_mask
from simcrop.data.reading import read_image
from simcrop.data.records import Record, Row, read_record, record_path, write_record
from simcrop.data.stated import StatedHeader
from simcrop.data.volume import Volume, array_of, format_of, to_image, to_ras, write_volume
from simcrop.errors import DataError, complain

JOB_FOLDERS = ("volumes", "masks", "anatomy", "records")  # of a store, in which jobs write


@dataclass(frozen=True)
class Job:
    """What is to be made of one volume.

    Attributes:
        volume_id: names the files of the volume in the store.
        study_id: the study it belongs to.
        path: as the archive's table has it.
        masks: rows of the archive's masks table for this study.
        anatomy: path of the label map as the table has it, or "".
        root: where relative paths start.
        header: JSON of what the table states in place of the volume's own header, or "".
        anatomy_values: JSON of label map value to stored value, others become 0; "" keeps all.
        needs_lungs: refuse a volume without lungs in view.
        storage: suffix of the volume's file in the store, `nii` or `nii.gz`.
    """

    volume_id: str
    study_id: str
    path: str
    masks: tuple[Row, ...]
    anatomy: str
    root: Path
    header: str = ""
    anatomy_values: str = ""
    needs_lungs: bool = True
    storage: str = "nii"

    def fingerprint(self, contract: Contract) -> str:
        """Return a hash of everything that decides which voxels the job writes, but the files."""
        left_out = ("root", "storage")  # a finished volume stays in the form that it has
        job = {name: value for name, value in asdict(self).items() if name not in left_out}
        return hashlib.sha256(json.dumps([job, contract.stored_hash]).encode()).hexdigest()

    def file(self, path: str) -> Path:
        """Return where a path of the archive's tables leads."""
        return resolve(self.root, path)

    def refusal(self, path: str, stage: str, error: DataError) -> Row:
        """Return a row of `refused.csv`."""
        return {"volume_id": self.volume_id, "study_id": self.study_id, "path": path,
                "stage": stage, "kind": error.kind, "reason": str(error)}  # fmt: skip


def run_job(job: Job, contract: Contract, store: Path) -> Record:
    """Prepare one volume with its masks and write them; what cannot be read is refused.

    Raises:
        OSError: if the store cannot be written to.
    """
    record = _run(job, contract, store)
    path, source = record_path(job.volume_id, store), job.file(job.path)
    write_record(record, path, job.fingerprint(contract), source)
    return record


def _run(job: Job, contract: Contract, store: Path) -> Record:
    try:
        stated = StatedHeader.from_json(job.header) if job.header else None
        with _refusing():
            volume = prepare_volume(job.file(job.path), contract, stated)
            source_format = format_of(job.file(job.path))
            check_extent(volume, contract)
            if job.needs_lungs:
                check_lungs(volume.hu, volume.spacing_mm, volume.source)
    except DataError as error:
        return Record(refused=[job.refusal(job.path, "volume", error)])
    path = f"volumes/{job.volume_id}.{job.storage}"
    write_volume(store / path, volume.hu, volume.affine, shared=True)
    nx, ny, nz = volume.shape
    record = Record(
        {"volume_id": job.volume_id, "study_id": job.study_id, "path": path,
         "nx": nx, "ny": ny, "nz": nz, "bytes": (store / path).stat().st_size,
         "source_format": source_format, "series": volume.series,
         "native_grid": volume.native_grid.to_json() if volume.native_grid else ""}
    )  # fmt: skip
    if job.masks or job.anatomy:
        _run_masks(job, volume, store, record)
    return record


def finished(job: Job, contract: Contract, store: Path) -> Record | None:
    """Return the record of a job that was finished or refused before, or None if it must run."""
    path, source = record_path(job.volume_id, store), job.file(job.path)
    return read_record(path, job.fingerprint(contract), source, store)


def _run_masks(job: Job, volume: Volume, store: Path, record: Record) -> None:
    """Put the masks and the label map of a volume onto its grid and write them."""
    reference = to_image(volume.hu, volume.affine)
    label_maps: dict[str, sitk.Image] = {}  # one file may hold the masks of several sentences
    for number, row in enumerate(job.masks):
        try:
            if row["path"] not in label_maps:
                label_maps[row["path"]] = _on_grid(job.file(row["path"]), reference)
            is_inside = array_of(label_maps[row["path"]]) == float(row["value"])
            _refuse_empty(is_inside, f"{job.file(row['path'])}, value {row['value']}")
        except DataError as error:
            record.refused.append(job.refusal(row["path"], "mask", error))
            continue
        path = f"masks/{job.volume_id}/{number:03d}.nii.gz"
        write_volume(store / path, is_inside, volume.affine, shared=True)
        record.masks.append({**row, "volume_id": job.volume_id, "path": path})
    if job.anatomy:
        try:
            label_map = _on_grid(job.file(job.anatomy), reference)
            if job.anatomy_values:
                label_map = _renumber(label_map, job.anatomy_values)
            _refuse_empty(array_of(label_map), str(job.file(job.anatomy)))
        except DataError as error:
            record.refused.append(job.refusal(job.anatomy, "anatomy", error))
        else:
            path = f"anatomy/{job.volume_id}.nii.gz"
            write_volume(store / path, array_of(label_map), volume.affine, shared=True)
            record.anatomy = {"volume_id": job.volume_id, "path": path}


def _on_grid(path: Path, reference: sitk.Image) -> sitk.Image:
    with _refusing():
        return resample_mask(to_ras(read_image(path)), reference)


@contextmanager
def _refusing() -> Generator[None]:
    """Turn a failure of the system to read a source into a refusal of this source alone."""
    try:
        yield
    except OSError as error:
        raise DataError(
            complain(
                f"{error.filename}: {error.strerror or error}",
                "a file that can be read",
                "Check its permissions and its disk, or remove its row.",
            ),
            kind="unreadable",
        ) from error


def _renumber(label_map: sitk.Image, values: str) -> sitk.Image:
    """Return the label map with its values replaced; those that are not named become 0."""
    names = {float(old): int(new) for old, new in json.loads(values).items()}
    renumbered = sum((label_map == old) * new for old, new in names.items())
    return sitk.Cast(renumbered, sitk.sitkUInt8)


def _refuse_empty(mask: np.ndarray, name: str) -> None:
    if not mask.any():
        raise DataError(
            complain(
                f"{name}: no voxel on the prepared volume",
                "a mask in the same place as its volume, not much smaller than a voxel",
                "Check its value and its affine.",
            ),
            "empty_mask",
        )
