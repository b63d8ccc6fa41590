"""What a run folder tells: where the run stands, how its losses went, where things lie.

It is read from the files alone, in a second, also while the run goes on.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from simcrop.config import Config, read_config
from simcrop.errors import ConfigError, DataError, complain
from simcrop.evaluate.tables import Table
from simcrop.train.run_folder import RunFolder, draw_values

LOSSES = tuple(f"/{term}_loss" for term in ("patch", "report", "alignment", "instance", "total"))
LAST_ROWS = 20  # speed is the median over as many of the newest logged values


@dataclass(frozen=True, eq=False)
class RunSummary:
    """A run as its folder describes it.

    Attributes:
        run: the folder.
        config: every setting.
        described: what run.json says.
        values: step, name and value of everything that was logged.
        skipped: the rows of skipped_studies.csv.
        bad_batches: the rows of bad_batches.csv.
    """

    run: RunFolder
    config: Config
    described: dict[str, Any]
    values: pd.DataFrame
    skipped: pd.DataFrame
    bad_batches: pd.DataFrame

    @property
    def updates(self) -> int:
        """Updates made, by the newest resume point or logged value."""
        points = [int(path.stem.removeprefix("step_")) for path in self.run.resume_points()[:1]]
        logged = self.values[~self.values["name"].str.startswith("val/")]["step"] + 1
        return max([0, *points, *logged.tail(1)])

    @property
    def length(self) -> int | None:
        """Updates in all; None before the run knew."""
        return self.described.get("num_updates")

    @property
    def state(self) -> str:
        """Where the run stands, in words."""
        if self.length is None:
            return "not begun"
        share = f"{self.updates:,} of {self.length:,} updates"
        return f"finished, {share}" if self.updates >= self.length else f"{share} so far"

    def median(self, name: str) -> float | None:
        """Return the median of the newest values of a name; None if there is none."""
        newest = self.values[self.values["name"] == name]["value"].tail(LAST_ROWS)
        return None if newest.empty else float(newest.median())

    def losses(self) -> Table:
        """Return first, last and lowest value of every loss."""
        names = [name for name in self._names() if name.endswith(LOSSES)]
        rows = []
        for name in names:
            of_name = self.values[self.values["name"] == name]
            lowest = of_name.iloc[int(of_name["value"].argmin())]
            first, last = of_name["value"].iloc[0], of_name["value"].iloc[-1]
            cells = (f"{value:.4g}" for value in (first, last, lowest["value"]))
            rows.append((name, *cells, f"{int(lowest['step']):,}"))
        return Table(("loss", "first", "last", "lowest", "at step"), tuple(rows))

    def diagnostics(self) -> Table:
        """Return first and last value of every other validation figure."""
        rows = []
        for name in self._names():
            if name.startswith("val/") and not name.endswith(LOSSES):
                column = self.values[self.values["name"] == name]["value"]
                rows.append((name, f"{column.iloc[0]:.4g}", f"{column.iloc[-1]:.4g}"))
        return Table(("validation figure", "first", "last"), tuple(rows))

    def places(self) -> Table:
        """Return where things lie and what they are."""
        run, rows = self.run, []
        for name, folder in (("checkpoint", run.checkpoint), ("best", run.best)):
            if (folder / "config.json").exists():
                told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
                text = f"{folder}, after {told['step']:,} updates"
                if best := told.get("best"):
                    text += f", {best['figure']} {best['value']:.4g}"
                rows.append((name, text))
        if points := run.resume_points():
            rows.append(("resume points", f"{run.resume}, newest {points[0].name}"))
        rows += [
            (name, str(path))
            for name, path in (("values", run.metrics), ("curves", run.curves))
            if path.exists()
        ]
        return Table(("what", "where"), tuple(rows))

    def facts(self) -> Table:
        """Return what was run, where it stands and how fast it goes."""
        speed, waiting = self.median("time/studies_per_second"), self.median("time/waiting_share")
        rows = [
            ("recipe", self.config.name),
            ("store", f"{self.described['store']}, {self.described['num_volumes']:,} volumes"),
            ("seed", str(self.config.seed)),
            ("state", self.state),
        ]
        if speed is not None and waiting is not None:
            rows.append(
                ("speed", f"{speed:.3g} studies/s, {waiting:.0%} of the time waiting for data")
            )
        studies = self.skipped["study_id"].nunique() if len(self.skipped) else 0
        rows += [
            ("unreadable studies", f"{studies}, see {self.run.skipped}" if studies else "none"),
            (
                "bad batches",
                f"{len(self.bad_batches)}, see {self.run.bad_batches}"
                if len(self.bad_batches)
                else "none",
            ),
        ]
        return Table(("run", str(self.run.folder)), tuple(rows))

    def curves(self, *kinds: str) -> Figure | None:
        """Draw the values whose names start or end with one of these; None without a value."""
        chosen = [name for name in self._names() if name.startswith(kinds) or name.endswith(kinds)]
        return draw_values(self.values[self.values["name"].isin(chosen)])

    def _names(self) -> list[str]:
        return [str(name) for name in self.values["name"].unique()]


def summarise(folder: Path) -> RunSummary:
    """Read a run folder.

    Raises:
        ConfigError: if it holds no run, or one of another kind than a pre-training.
        DataError: if one of its tables cannot be read.
    """
    run = RunFolder(folder)
    described = run.described()
    if "segmentation" in described:
        raise ConfigError(
            complain(
                f"{folder} holds a segmentation",
                "a folder that `simcrop pretrain` wrote",
                f"Its curves are {run.curves}, its values {run.metrics}.",
            )
        )
    return RunSummary(
        run,
        read_config(run.config, Config),
        described,
        _table(run.metrics, ("step", "name", "value")).dropna(),
        _table(run.skipped, ("step", "split", "study_id", "reason")),
        _table(run.bad_batches, ("step", "study_ids")),
    )


def _table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = pd.read_csv(path) if path.exists() else pd.DataFrame(columns=list(columns))
    except (ValueError, OSError) as error:
        raise DataError(
            complain(f"{path} cannot be read ({error})", "a table of a run", "Mend or remove it.")
        ) from error
    if missing := set(columns) - set(table.columns):
        raise DataError(
            complain(f"{path} lacks {', '.join(sorted(missing))}", "a table of a run", "Mend it.")
        )
    return table
