"""The folder of a run: everything needed to repeat, resume and read it.

RUN/config.yaml     every setting     RUN/run.json      versions, commit, seed, store, cache
RUN/metrics.csv     step, name, value RUN/curves.png    the same as pictures
RUN/checkpoint/     weights to use    RUN/best/         those of the best validation figure
RUN/resume/         Lightning's own files, to go on from; RUN/.lock keeps a second process out
RUN/bad_batches.csv step, studies and losses of batches whose loss or gradient was not usable
RUN/skipped_studies.csv   step, split, study and reason of studies that could not be read
"""

import csv
import hashlib
import json
import os
import shlex
import subprocess
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from safetensors import SafetensorError
from torch import Tensor

from simcrop.config import Config, SegmentationConfig, write_config
from simcrop.data.atomic import atomic_path, remove_unfinished
from simcrop.data.contract import Contract
from simcrop.data.samples import SkippedStudy
from simcrop.data.store import Store
from simcrop.errors import ConfigError, DataError, TrainingError, complain
from simcrop.evaluate.figures import loss_curves
from simcrop.train.checkpoint import versions


class RunFolder:
    """Names of the files of a run, and what is read from and written to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.description = folder / "run.json"
        self.metrics = folder / "metrics.csv"
        self.curves = folder / "curves.png"
        self.bad_batches = folder / "bad_batches.csv"
        self.skipped = folder / "skipped_studies.csv"
        self.checkpoint = folder / "checkpoint"
        self.best = folder / "best"
        self.resume = folder / "resume"

    def start(
        self, config: Config | SegmentationConfig, contract: Contract, store: Store, **more: Any
    ) -> None:
        """Make the folder and write down what is being run; the configuration comes last.

        Args:
            config: every setting.
            contract: how the run sees its volumes.
            store: where they are.
            more: further facts for run.json.

        Raises:
            ConfigError: if the folder already holds a run.
        """
        if self.config.exists():
            raise ConfigError(
                complain(
                    f"{self.folder} already holds a run",
                    "a new folder",
                    f"Choose another -o, or go on with that run: {self.resume_command}",
                )
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        description = {
            "id": uuid.uuid4().hex[:12],
            "recipe": config.name,
            "seed": config.seed,
            "commit": _commit(),
            "versions": versions(),
            "contract_hash": contract.hash,
            "store": store.location,
            "cache": None if store.cache is None else str(store.cache.absolute()),
            "num_volumes": len(store.volumes),
            "volumes_hash": _volumes_hash(store),
            **more,
        }
        self._describe(description)
        with atomic_path(self.config) as path:
            write_config(config, path)

    @property
    def resume_command(self) -> str:
        """What to type to go on with the run, by the kind that run.json tells."""
        is_segmentation = self.description.exists() and "segmentation" in self.described()
        command = "segment train" if is_segmentation else "pretrain"
        return f"simcrop {command} --resume {shlex.quote(str(self.folder))}"

    def note_length(self, num_updates: int) -> None:
        """Write down how many updates the run is to make."""
        self._describe({**self.described(), "num_updates": num_updates})

    def _describe(self, description: dict[str, Any]) -> None:
        with atomic_path(self.description) as path:
            path.write_text(json.dumps(description, indent=2), encoding="utf-8")

    def best_value(self) -> float | None:
        """Return the value of the figure by which best/ was chosen; None before it was."""
        path = self.best / "config.json"
        if not path.exists():
            return None
        return json.loads(path.read_text(encoding="utf-8"))["best"]["value"]

    def described(self) -> dict[str, Any]:
        """Return what run.json says.

        Raises:
            ConfigError: if the folder holds no run.
        """
        try:
            return json.loads(self.description.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigError(
                complain(
                    f"{self.folder} holds no run ({error})",
                    "a folder that `simcrop pretrain` or `simcrop segment train` wrote",
                    "Check the path.",
                )
            ) from error

    def open_store(
        self, moved_to: str | None = None, cache: Path | None = None, split: str = "clean"
    ) -> Store:
        """Open the store of the run, or the place that it has moved to.

        Raises:
            DataError: if it is not there, or holds other volumes than when the run was started.
        """
        told = self.described()
        if cache is None and told.get("cache"):
            cache = Path(told["cache"])
        remedy = f"If it has moved: {self.resume_command} --store PLACE"
        try:
            store = Store(moved_to or told["store"], split, cache=cache)
        except DataError as error:
            found = f"the store of this run, {moved_to or told['store']}, cannot be opened"
            raise DataError(complain(f"{found} ({error})", "a store", remedy)) from error
        if _volumes_hash(store) != told["volumes_hash"]:
            raise DataError(
                complain(
                    f"{store.location} holds other volumes than when {self.folder} was started",
                    "the same in the same splits",
                    "Start a new run on this store; a pre-training can begin from the weights: "
                    "--set vision_encoder.init=CHECKPOINT.",
                )
            )
        return store

    def next_commands(self) -> tuple[str, ...]:
        """Return what to type after the run, with its own paths."""
        run, store = map(shlex.quote, (str(self.folder), self.described()["store"]))
        return (
            f"simcrop show {run}",
            f"simcrop embed --checkpoint {run} --store {store} -o FEATURES",
            f"simcrop probe --checkpoint {run} --store {store} -o PROBE",
            f"simcrop ground --checkpoint {run} --volume CT --sentence '...' -o MAPS",
        )

    def resume_points(self) -> list[Path]:
        """Return the files in `resume`, newest first."""
        return sorted(self.resume.glob("step_*.ckpt"), reverse=True)

    def _tables(self) -> tuple[Path, ...]:
        return self.metrics, self.bad_batches, self.skipped

    def table_sizes(self) -> dict[str, int]:
        """Return the bytes of every table that grows in the course of the run, kept by the disk."""
        sizes = {}
        for path in filter(Path.exists, self._tables()):
            with path.open("rb") as file:
                os.fsync(file.fileno())
                sizes[path.name] = file.seek(0, os.SEEK_END)
        return sizes

    def go_back(self, sizes: Mapping[str, int]) -> None:
        """Cut off what the tables have gained since they had these sizes; half files go too."""
        remove_unfinished(self.folder)
        for path in filter(Path.exists, self._tables()):
            if path.name not in sizes:
                path.unlink()
            elif path.stat().st_size > sizes[path.name]:
                os.truncate(path, sizes[path.name])

    def draw_curves(self) -> Figure | None:
        """Draw every logged value against the step and keep the picture; None without a value."""
        figure = draw_values(pd.read_csv(self.metrics))
        if figure is not None:
            with atomic_path(self.curves) as path:
                figure.savefig(path, dpi=144)
        return figure

    def note_bad_batch(
        self, step: int, study_ids: Sequence[str], losses: Mapping[str, Tensor]
    ) -> None:
        """Append the studies of a batch whose loss or gradient was not usable."""
        row = [step, " ".join(study_ids), *(float(loss) for loss in losses.values())]
        self._append(self.bad_batches, ["step", "study_ids", *losses], row)

    def note_skipped(self, step: int, split: str, study: SkippedStudy) -> None:
        """Append a study that could not be read."""
        row = [step, split, study.study_id, study.reason]
        self._append(self.skipped, ["step", "split", "study_id", "reason"], row)

    def _append(self, path: Path, header: list[str], row: list[Any]) -> None:
        with writing(self.folder):
            is_new = not path.exists()
            with path.open("a", newline="", encoding="utf-8") as file:
                csv.writer(file, lineterminator="\n").writerows([header, row] if is_new else [row])


def draw_values(values: pd.DataFrame) -> Figure | None:
    """Draw step, name and value of what a run logged, as curves; None without a value."""
    if values.empty:  # stopped before the first value was logged
        return None
    wide = values.pivot_table(index="step", columns="name", values="value")
    names = [name for name in values["name"].unique() if name in wide]
    return loss_curves(wide.index.to_numpy(), {str(n): wide[n].to_numpy() for n in names})


@contextmanager
def writing(folder: Path) -> Generator[None]:
    """Make one error of whatever happens when the files of a run cannot be written.

    Raises:
        TrainingError: naming the folder and the way to go on.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason: BaseException = error  # torch speaks of positions in a file, and keeps why within
        while not isinstance(reason, OSError) and reason.__context__ is not None:
            reason = reason.__context__
        raise TrainingError(
            complain(
                f"{folder} cannot be written ({reason})",
                "room for resume points and checkpoints",
                "What was written before is whole. Make room, then go on: "
                f"{RunFolder(folder).resume_command}",
            )
        ) from error


def _volumes_hash(store: Store) -> str:
    parts = [store.volume_ids("train"), store.volume_ids("val")]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _commit() -> str | None:
    """Return the commit of the source tree, or None where it is no checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
