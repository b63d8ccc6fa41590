"""Maps that know no image: where the masks of a finding lie among training patients.

Most findings have a place, and many sentences name it. A method that only learned this already
points well, so grounding is compared with maps made from training masks alone: of the finding, and
of the finding with the side and the level that the sentence names (phantoms: 0.89 of such maps
hit, without any image).

The share of training masks that have a target at a patch is taken in three steps, each drawn
towards the one before by `PRIOR` masks: of all findings, of the finding, of finding, side and
level. So a rare finding still has a map. Masks of the sentence's own patient are left out, which
makes it fair on training patients too.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num

from simcrop.report.places import place_of

POSITION, POSITION_AND_WORDS = "position", "position and words"
PRIOR = 2.0  # masks that the wider group counts for
_Key = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class TrainingMask:
    """A mask of a training patient: what it shows, in words, and the patches that hold it."""

    patient_id: str
    label: str
    sentence: str
    is_target: Bool[np.ndarray, " patches"]


class PositionMaps:
    """Maps of findings and places, learned from masks."""

    def __init__(self, masks: Iterable[TrainingMask]) -> None:
        """Count the masks of every finding and place, and of every patient among them."""
        self._sums: dict[tuple[_Key, str], np.ndarray] = {}
        self._counts: dict[tuple[_Key, str], int] = defaultdict(int)
        for mask in masks:
            for key in _keys(mask.label, mask.sentence):
                for patient in ("", mask.patient_id):  # "" is everybody
                    before = self._sums.get((key, patient), 0.0)
                    self._sums[key, patient] = before + mask.is_target.astype(float)
                    self._counts[key, patient] += 1

    def maps_of(
        self, label: str, sentence: str, patient_id: str
    ) -> dict[str, Float[np.ndarray, " patches"]]:
        """Return the two maps for a sentence of a patient; none without other patients' masks."""
        everything, *narrower = _keys(label, sentence)
        found, count = self._without(everything, patient_id)
        if not count:
            return {}
        wider, maps = found / count, {}
        for name, key in zip((POSITION, POSITION_AND_WORDS), narrower, strict=True):
            found, count = self._without(key, patient_id)
            wider = (found + PRIOR * wider) / (count + PRIOR)
            maps[name] = wider
        return maps

    def _without(self, key: _Key, patient_id: str) -> tuple[np.ndarray, int]:
        """Return the sum and number of the masks of a key, those of one patient left out."""
        nothing = np.zeros(1)
        everybody, own = (self._sums.get((key, who), nothing) for who in ("", patient_id))
        counts = [self._counts.get((key, who), 0) for who in ("", patient_id)]
        return everybody - own, counts[0] - counts[1]


class MeanOfOthers:
    """The mean patches of all volumes of other patients, patient by patient.

    A cosine is linear in a patch of unit length, so a sentence's mean map over the others is its
    product with these. Half precision comes in as it is stored; sums are in single precision.
    """

    def __init__(
        self, patches: Num[np.ndarray, "volumes patches shared"], patient_ids: Sequence[str]
    ) -> None:
        """Add up all patches once."""
        self._patches, self._patient_ids = patches, np.asarray(patient_ids)
        self._total = sum((p.astype(np.float32) for p in patches), np.zeros(patches.shape[1:]))

    def of(self, patient_id: str) -> Float[np.ndarray, "patches shared"]:
        """Return the mean over the volumes of others; zeros where there is none."""
        own = self._patches[self._patient_ids == patient_id].astype(np.float32)
        num_others = len(self._patient_ids) - len(own)
        return (self._total - own.sum(axis=0)) * (num_others > 0) / max(num_others, 1)


def _keys(label: str, sentence: str) -> tuple[_Key, _Key, _Key]:
    return (), (label,), (label, *place_of(sentence))
