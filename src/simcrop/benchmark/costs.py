"""CPU time of a cell, stage by stage, kept in its folder so that sittings add up."""

import json
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from simcrop.data.atomic import atomic_path

COSTS_FILE = "costs.json"


class Costs:
    """CPU seconds of all threads of this process, by stage; of killed sittings nothing is known.

    Args:
        folder: of the cell; `costs.json` of an earlier sitting is continued.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / COSTS_FILE
        known = self._path.exists()
        self.seconds: dict[str, float] = json.loads(self._path.read_text()) if known else {}

    @contextmanager
    def of(self, stage: str) -> Generator[None]:
        """Add what is done inside to a stage, also where it ends in an error or an interrupt."""
        start = time.process_time()
        try:
            yield
        finally:
            spent = self.seconds.get(stage, 0.0) + time.process_time() - start
            self.seconds[stage] = round(spent, 1)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(self._path) as unfinished:
                unfinished.write_text(json.dumps(self.seconds))
