"""Maps that know no image: from training masks, patient by patient."""

import inspect

import numpy as np
import pytest

from simcrop.evaluate.position_maps import (
    POSITION,
    POSITION_AND_WORDS,
    PRIOR,
    MeanOfOthers,
    PositionMaps,
    TrainingMask,
)


def mask(patient, label, sentence, *targets):
    return TrainingMask(patient, label, sentence, np.isin(np.arange(6), targets))


MASKS = [
    *(mask(f"a{i}", "effusion", "Effusion on the left.", 0) for i in range(30)),
    *(mask(f"b{i}", "effusion", "Effusion on the right.", 5) for i in range(30)),
    *(mask(f"c{i}", "nodule", "A nodule.", 2) for i in range(40)),
]


def test_a_position_map_is_the_share_of_masks_drawn_towards_all_findings():
    maps = PositionMaps(MASKS).maps_of("effusion", "Effusion on the left.", "new")
    everything = np.array([0.3, 0, 0.4, 0, 0, 0.3])
    of_finding = np.array([30, 0, 0, 0, 0, 30])
    expected = (of_finding + PRIOR * everything) / (60 + PRIOR)
    np.testing.assert_allclose(maps[POSITION], expected)
    assert maps[POSITION][0] == maps[POSITION][5]
    assert maps[POSITION_AND_WORDS].argmax() == 0
    other = PositionMaps(MASKS).maps_of("effusion", "Right-sided effusion.", "new")
    assert other[POSITION_AND_WORDS].argmax() == 5
    np.testing.assert_array_equal(other[POSITION], maps[POSITION])


def test_it_has_no_image_and_no_mask_of_the_patient_asked_about():
    assert list(inspect.signature(PositionMaps.maps_of).parameters) == [
        "self", "label", "sentence", "patient_id",
    ]  # fmt: skip
    own = [*MASKS, *(mask("me", "nodule", "A nodule.", 4) for _ in range(500))]
    asked = PositionMaps(own).maps_of("nodule", "A nodule.", "me")
    without = PositionMaps(MASKS).maps_of("nodule", "A nodule.", "me")
    for name, values in without.items():
        np.testing.assert_allclose(asked[name], values)


def test_an_unknown_finding_gets_the_map_of_all_and_no_masks_give_none():
    maps = PositionMaps(MASKS).maps_of("hernia", "A hernia.", "new")
    np.testing.assert_allclose(maps[POSITION], [0.3, 0, 0.4, 0, 0, 0.3])
    assert PositionMaps([]).maps_of("nodule", "A nodule.", "new") == {}
    alone = [mask("me", "nodule", "A nodule.", 1)]
    assert PositionMaps(alone).maps_of("nodule", "A nodule.", "me") == {}


def test_the_mean_of_others_leaves_out_all_volumes_of_the_patient():
    patches = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float16)
    patients = ["a", "a", "b", "c", "c"]
    others = MeanOfOthers(patches, patients)
    np.testing.assert_allclose(others.of("a"), patches[2:].astype(float).mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(
        others.of("b"), patches[[0, 1, 3, 4]].astype(float).mean(axis=0), atol=1e-6
    )
    assert not MeanOfOthers(patches[:2], ["a", "a"]).of("a").any()


@pytest.mark.parametrize("patient", ["a0", "new"])
def test_shares_are_shares(patient):
    for values in PositionMaps(MASKS).maps_of("effusion", "Both sides.", patient).values():
        assert ((values >= 0) & (values <= 1)).all()
