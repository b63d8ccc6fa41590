"""Above which similarity a patch is found, for Dice: never chosen on the patient's own masks.

The thresholds come from validation sentences. Where the validation part itself is reported, or a
small archive as a whole, patients are dealt into folds and each takes those of the other folds.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simcrop.evaluate.grounded_sentence import GroundedSentence
from simcrop.evaluate.map_figures import best_dice_threshold

NUM_FOLDS = 5
_ByLabel = Mapping[str, float]


@dataclass(frozen=True)
class DiceThresholds:
    """The similarity of the best mean Dice, by kind of map and label.

    Attributes:
        of_fold: one table per fold of patients: map, label, threshold. The label "" stands for
            labels that the choosing sentences do not have; a table without maps is no threshold.
        fold_of_patient: patients that are not named are in the first fold.
    """

    of_fold: tuple[Mapping[str, _ByLabel], ...]
    fold_of_patient: Mapping[str, int]

    def of(self, map_name: str, sentence: GroundedSentence) -> float:
        """Return the threshold for a map of a sentence; nan where none was chosen."""
        table = self.of_fold[self.fold_of_patient.get(sentence.patient_id, 0)]
        by_label = table.get(map_name, {})
        return by_label.get(sentence.label, by_label.get("", math.nan))

    @property
    def any(self) -> bool:
        """Whether there is a threshold at all."""
        return any(self.of_fold)


NO_THRESHOLDS = DiceThresholds(({},), {})


def chosen_on(sentences: Sequence[GroundedSentence]) -> DiceThresholds:
    """Return the thresholds of validation sentences, for patients that are not among theirs."""
    return DiceThresholds((_best(sentences),), {})


def chosen_on_others(sentences: Sequence[GroundedSentence]) -> DiceThresholds:
    """Return for every patient the thresholds of the others, fold by fold.

    A single patient has none.
    """
    scored = [sentence for sentence in sentences if sentence.has_target]
    patients = sorted({sentence.patient_id for sentence in scored})
    folds = {patient: i % NUM_FOLDS for i, patient in enumerate(patients)}
    tables = (
        _best([one for one in scored if folds[one.patient_id] != fold])
        for fold in range(max(1, min(NUM_FOLDS, len(patients))))
    )
    return DiceThresholds(tuple(tables), folds)


def _best(sentences: Sequence[GroundedSentence]) -> dict[str, dict[str, float]]:
    """Return by map and label the similarity of the best mean Dice of sentences."""
    scored = [sentence for sentence in sentences if sentence.has_target]
    if not scored:
        return {}
    groups = {"": scored} | {
        label: [s for s in scored if s.label == label] for label in {s.label for s in scored}
    }
    return {
        name: {
            label: best_dice_threshold(
                np.stack([s.maps[name] for s in group]),
                np.stack([s.mask_share for s in group]),
                np.stack([s.is_body for s in group]),
            )
            for label, group in groups.items()
        }
        for name in scored[0].maps
    }
