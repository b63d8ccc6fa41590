"""The table that sets a layer with masks beside a sentence's own map and the map of positions."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import mask_ceiling

from simcrop.evaluate.grounded_sentence import GroundedSentence

PATCHES = 10


def sentence(label: str, text: str, *, masks: float, own: float) -> GroundedSentence:
    """Return one whose target is the first patch; maps put a value there and 0.5 elsewhere."""
    maps = {
        name: np.r_[at_target, np.full(PATCHES - 1, 0.5)]
        for name, at_target in (("masks", masks), ("own", own), ("position", 0.5))
    }
    share = np.r_[1.0, np.zeros(PATCHES - 1)]
    return GroundedSentence(
        "study", "patient", label, text, maps, share, np.ones(PATCHES, dtype=bool), share, share
    )


def test_every_map_is_scored_on_all_sentences_and_on_those_without_a_place():
    sentences = [
        sentence("Cardiomegaly", "The heart is enlarged.", masks=1.0, own=0.0),
        sentence("Lung nodule", "Nodule in the right upper lobe.", masks=1.0, own=1.0),
        sentence("Lung nodule", "There is a nodule.", masks=0.0, own=1.0),
    ]
    found = mask_ceiling.table_of(sentences)
    assert found.loc["all", ("masks", "patch_auroc")] == pytest.approx((1 + 0.5) / 2)
    assert found.loc["all", ("own", "hit")] == pytest.approx((0 + 1) / 2)
    assert found.loc["no place named", ("masks", "patch_auroc")] == pytest.approx((1 + 0) / 2)
    assert found.loc["lung, no place named", ("own", "patch_auroc")] == 1.0
    assert found.loc["lung", ("position", "patch_auroc")] == 0.5
