"""A store whose training patients have each other's reports: a control that must learn nothing.

Volumes, words and their frequencies stay; only what belongs together no longer does. Validation
and test reports are left as they are.
"""

from pathlib import Path

import numpy as np

from simcrop.data.store import Store
from simcrop.report.sections import Report


class PermutedReports(Store):
    """A store with the reports of its training studies permuted; no study keeps its own.

    Args:
        location: of the store.
        seed: of the permutation.
    """

    def __init__(self, location: Path | str, seed: int) -> None:
        super().__init__(location)
        studies = sorted({self.study_of(volume) for volume in self.volume_ids("train")})
        order = np.random.default_rng(seed).permutation(len(studies))
        givers = np.roll(order, 1)
        self._giver = {studies[a]: studies[b] for a, b in zip(order, givers, strict=True)}

    def report(self, study_id: str) -> Report:
        """Return the report of the study that gives its own to this one."""
        return super().report(self._giver.get(study_id, study_id))
