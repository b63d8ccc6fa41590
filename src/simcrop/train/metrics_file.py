"""metrics.csv of a run, written as Lightning's logger: one row per value."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from simcrop.train.run_folder import writing


class MetricsFile(Logger):
    """Append every value as one row: step, name, value.

    Steps are updates, counted from 0; values of the validation after n updates have step n.

    Attributes:
        latest: the last value of every name that was logged since the process started.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.latest: dict[str, float] = {}
        self._open()

    @rank_zero_only
    def _open(self) -> None:
        if not self.path.exists():
            self.path.write_text("step,name,value\n", encoding="utf-8")

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
        """Append the values of one step.

        Raises:
            TrainingError: if they cannot be written.
        """
        self.latest.update(metrics)
        with writing(self.path.parent), self.path.open("a", newline="", encoding="utf-8") as file:
            rows = [(step, name, value) for name, value in metrics.items()]
            csv.writer(file, lineterminator="\n").writerows(rows)
