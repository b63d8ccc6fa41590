"""The folder of a run: everything needed to repeat, resume and read it.

RUN/config.yaml     every setting     RUN/run.json      versions, commit, seed, data
RUN/metrics.csv     step, name, value RUN/curves.png    the same as pictures
RUN/checkpoint/     weights to use    RUN/resume/       Lightning's own file, to go on
RUN/bad_batches.csv step, studies and losses of batches whose loss was not usable
"""

import csv
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pandas as pd
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure
from torch import Tensor

from simcrop.config import Config, write_config
from simcrop.data.atomic import atomic_path
from simcrop.data.samples import Batch
from simcrop.data.store import Store
from simcrop.errors import CheckpointError, ConfigError, complain
from simcrop.evaluate.figures import loss_curves
from simcrop.train.checkpoint import versions


class RunFolder:
    """Names of the files of a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "config.yaml"
        self.description = folder / "run.json"
        self.metrics = folder / "metrics.csv"
        self.curves = folder / "curves.png"
        self.bad_batches = folder / "bad_batches.csv"
        self.checkpoint = folder / "checkpoint"
        self.resume = folder / "resume" / "last.ckpt"

    @rank_zero_only
    def start(self, config: Config, store: Store) -> None:
        """Make the folder and write down what is being run.

        Raises:
            ConfigError: if the folder already holds a run.
        """
        if self.config.exists():
            raise ConfigError(
                complain(
                    f"{self.folder} already holds a run",
                    "a new folder",
                    "Choose another -o, or go on with that run by --resume.",
                )
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_config(config, self.config)
        description = {
            "recipe": config.name,
            "seed": config.seed,
            "commit": _commit(),
            "versions": versions(),
            "contract_hash": config.contract().hash,
            "store": store.location,
            "num_volumes": len(store.volumes),
        }
        self.description.write_text(json.dumps(description, indent=2), encoding="utf-8")

    def draw_curves(self) -> Figure | None:
        """Draw every logged value against the step and keep the picture; None without a value."""
        table = pd.read_csv(self.metrics)
        if table.empty:  # stopped before the first value was logged
            return None
        wide = table.pivot_table(index="step", columns="name", values="value")
        figure = loss_curves(
            wide.index.to_numpy(), {str(name): wide[name].to_numpy() for name in wide.columns}
        )
        with atomic_path(self.curves) as path:
            figure.savefig(path, dpi=144)
        return figure

    def note_bad_batch(self, step: int, batch: Batch, losses: Mapping[str, Tensor]) -> None:
        """Append the studies of a batch whose loss was not usable."""
        is_new = not self.bad_batches.exists()
        with self.bad_batches.open("a", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            if is_new:
                rows.writerow(["step", "study_ids", *losses])
            values = [float(loss.detach()) for loss in losses.values()]
            rows.writerow([step, " ".join(batch.study_ids), *values])

    def resume_step(self) -> int:
        """Return the number of updates behind the run's resume point.

        Raises:
            CheckpointError: if there is nothing to resume.
        """
        if not self.resume.exists():
            raise CheckpointError(
                complain(f"{self.folder} has no resume point", f"{self.resume}", "Start it anew.")
            )
        try:
            saved = torch.load(self.resume, weights_only=True, map_location="cpu")
            return int(saved["global_step"])
        except (RuntimeError, EOFError, KeyError, UnpicklingError) as error:
            raise CheckpointError(
                complain(
                    f"{self.resume} cannot be read ({error})",
                    "the file that this run wrote",
                    "Start the run anew in another folder.",
                )
            ) from error

    def store(self) -> str:
        """Return the store that the run was started with."""
        return json.loads(self.description.read_text(encoding="utf-8"))["store"]


def _commit() -> str | None:
    """Return the commit of the source tree, or None where it is no checkout."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


class MetricsFile(Logger):
    """A Lightning logger that appends every value as one row: step, name, value.

    Steps are updates, counted from 0 as Lightning counts them.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        super().__init__()
        self.path = path
        self._open(first_step)

    @rank_zero_only
    def _open(self, first_step: int) -> None:
        path = self.path
        if path.exists():  # a resumed run repeats the steps after its last resume point
            header, *rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
            done = [row for row in rows if int(row.partition(",")[0]) < first_step]
            path.write_text("".join([header, *done]), encoding="utf-8")
        else:
            path.write_text("step,name,value\n", encoding="utf-8")

    @property
    def name(self) -> str:
        """Name that Lightning asks for."""
        return "metrics"

    @property
    def version(self) -> str:
        """Version that Lightning asks for."""
        return ""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Ignore them: config.yaml holds every setting."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Append the values of one step."""
        with self.path.open("a", newline="", encoding="utf-8") as file:
            rows = [(step, name, value) for name, value in metrics.items() if name != "epoch"]
            csv.writer(file, lineterminator="\n").writerows(rows)
