"""Write phantoms as a hospital would hand over its studies: volumes, reports, labels, masks.

The layout is the study archive of `docs/explanation/data-formats.md`, plus one organ label map
per volume, and what the phantoms are in phantoms.json. The same seed gives the same bytes, with any
number of workers.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pandas as pd

from simcrop.data.phantom.canvas import ORGAN_NAMES
from simcrop.data.phantom.findings import LABEL_NAMES
from simcrop.data.phantom.render import make_phantom
from simcrop.data.phantom.shapes import Number
from simcrop.data.volume import write_volume

MADE_OF = "phantoms.json"
Rows = dict[str, list[dict[str, str | int]]]


def write_phantoms(
    folder: str | Path,
    num_patients: int,
    seed: int,
    *,
    difficulty: Number = 0.5,
    away: bool = False,
    spread: Number = 0.0,
    workers: int = 1,
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a study archive of phantom patients, one study of one volume each.

    Patient i is the same whatever `num_patients` is.

    Args:
        folder: created if absent; files of an earlier archive there are overwritten.
        num_patients: how many.
        seed: of the set.
        difficulty: 0 (easy) to 1 (hard).
        away: from another hospital, see `make_phantom`.
        spread: 0 (chests lie alike) to 1 (anywhere in the scan).
        workers: processes; the bytes do not depend on it.
        on_progress: called with (written, num_patients) after each patient.

    Returns:
        The archive's folder.

    Raises:
        ValueError: if `num_patients` or `workers` is below 1, or difficulty or spread outside
            [0, 1].
    """
    if num_patients < 1 or workers < 1:
        raise ValueError(f"{num_patients} patients with {workers} workers; both must be 1 or more")
    folder = Path(folder)
    for name in ("volumes", "masks", "anatomy"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write = partial(_write_patient, folder, seed, difficulty, away, spread)
    tables: Rows = {}
    for done, rows in enumerate(_each(write, num_patients, workers), start=1):
        for table, new in rows.items():
            tables.setdefault(table, []).extend(new)
        if on_progress is not None:
            on_progress(done, num_patients)
    tables["anatomy_names"] = [{"value": v, "name": n} for v, n in enumerate(ORGAN_NAMES)]
    for table, new in tables.items():
        columns = _MASK_COLUMNS if table == "masks" else None
        pd.DataFrame(new, columns=columns).to_csv(folder / f"{table}.csv", index=False)
    made_of = {"seed": seed, "patients": num_patients, "difficulty": float(difficulty),
               "away": away, "spread": float(spread)}  # fmt: skip
    (folder / MADE_OF).write_text(json.dumps(made_of) + "\n", encoding="utf-8")
    return folder


_MASK_COLUMNS = ["study_id", "sentence", "path", "value", "label"]


def _each(write: Callable[[int], Rows], number: int, workers: int) -> Iterator[Rows]:
    """Yield the rows of every patient in order."""
    if workers == 1:
        yield from map(write, range(number))
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(write, range(number), chunksize=8)


def _write_patient(
    folder: Path, seed: int, difficulty: Number, away: bool, spread: Number, index: int
) -> Rows:
    """Write one patient's files and return their rows of the tables."""
    phantom = make_phantom(seed, index, difficulty, away=away, spread=spread)
    study = f"phantom_{index:06d}"
    volume, path = f"{study}_ct", f"volumes/{study}.nii.gz"
    write_volume(folder / path, phantom.hu, phantom.affine)
    anatomy = f"anatomy/{study}.nii.gz"
    write_volume(folder / anatomy, phantom.anatomy, phantom.affine)
    masks = []
    for number, finding in enumerate(phantom.findings, start=1):
        mask = f"masks/{study}_{number}.nii.gz"
        write_volume(folder / mask, finding.mask, phantom.affine)
        row = {"study_id": study, "sentence": finding.sentence, "path": mask, "value": 1}
        masks.append({**row, "label": finding.label})
    present = {finding.label for finding in phantom.findings}
    report = {"findings": phantom.findings_text, "impression": phantom.impression}
    return {
        "volumes": [{"volume_id": volume, "study_id": study, "path": path}],
        "reports": [{"study_id": study, "patient_id": f"P{index:06d}", **report}],
        "labels": [{"study_id": study, **{name: int(name in present) for name in LABEL_NAMES}}],
        "masks": masks,
        "anatomy": [{"volume_id": volume, "path": anatomy}],
    }
