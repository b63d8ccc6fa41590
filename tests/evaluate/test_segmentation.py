"""Figures of labels against a reference: closed forms, empty classes, means that leave them out."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from simcrop.evaluate.segmentation import (
    MEASURES,
    MISSED,
    UNDEFINED,
    CaseScores,
    dice_per_class,
    score_case,
    summarise_cases,
)

SPACING = (1.0, 2.0, 4.0)


def cube(start, size=4, shape=(16, 16, 16), value=1) -> np.ndarray:
    labels = np.zeros(shape, dtype=np.uint8)
    labels[tuple(slice(s, s + size) for s in start)] = value
    return labels


def case(predicted, reference, num_classes=2, **options) -> CaseScores:
    options = {"case_id": "a", "patient_id": "p"} | options
    return score_case(predicted, reference, SPACING, num_classes, **options)


def test_equal_labels_are_perfect():
    (agreement,) = case(cube((3, 3, 3)), cube((3, 3, 3))).classes
    assert agreement == type(agreement)(1.0, 0.0, 0.0, 1.0)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_shifted_slab_is_off_by_the_shift_in_mm(axis):
    """Slabs across the whole volume have two faces; each lies two voxels from its twin."""
    reference, predicted = (np.zeros((12, 12, 12), dtype=np.uint8) for _ in range(2))
    np.moveaxis(reference, axis, 0)[4:8] = 1
    np.moveaxis(predicted, axis, 0)[6:10] = 1
    mm = 2 * SPACING[axis]
    (agreement,) = case(predicted, reference).classes
    assert agreement.hd95_mm == pytest.approx(mm)
    assert agreement.dice == pytest.approx(0.5)
    assert case(predicted, reference, tolerance_mm=mm).classes[0].surface_dice == 1.0
    assert case(predicted, reference, tolerance_mm=mm - 0.1).classes[0].surface_dice < 1.0


@settings(max_examples=30, deadline=None)
@given(arrays.arrays(np.uint8, (6, 5, 4), elements=st.integers(0, 3)),
       arrays.arrays(np.uint8, (6, 5, 4), elements=st.integers(0, 3)))  # fmt: skip
def test_figures_do_not_depend_on_which_is_the_reference(one, other):
    there, back = case(one, other, 4).classes, case(other, one, 4).classes
    for name in MEASURES:
        np.testing.assert_allclose(
            [getattr(a, name) for a in there], [getattr(a, name) for a in back]
        )


def test_a_class_in_neither_has_no_value_and_in_one_is_missed():
    reference = cube((3, 3, 3)) + cube((9, 9, 9), value=2)
    found = case(cube((3, 3, 3)), reference, 4).classes
    assert found[1] == MISSED
    assert [math.isnan(getattr(found[2], name)) for name in MEASURES] == [True] * 4
    assert case(reference, cube((3, 3, 3)), 4).classes[1] == MISSED


def test_background_is_no_class():
    labels = cube((3, 3, 3))
    assert len(case(labels, labels, 3).classes) == 2
    assert dice_per_class(labels, np.zeros_like(labels), 2).tolist() == [0.0]


def test_labels_outside_the_classes_are_refused():
    with pytest.raises(ValueError, match="0 to 1"):
        case(cube((3, 3, 3), value=2), cube((3, 3, 3)))


def agreement(dice: float, hd95: float = 1.0):
    return type(MISSED)(dice, hd95, hd95 / 2, dice)


def test_means_leave_undefined_classes_out_and_count_missed_ones():
    cases = [
        CaseScores("a", "p", (agreement(0.8, 2.0), UNDEFINED)),
        CaseScores("b", "q", (agreement(0.6, 4.0), agreement(0.5, 6.0))),
        CaseScores("c", "r", (MISSED, UNDEFINED)),
    ]
    scores = summarise_cases(cases, ("lung", "spleen"))
    assert scores.num_cases == (3, 1)
    assert scores.num_missed == (1, 0)
    lung, spleen = scores.measures["dice"].per_label
    assert lung.value == pytest.approx((0.8 + 0.6 + 0.0) / 3)
    assert spleen.value == pytest.approx(0.5)
    assert scores.measures["dice"].mean.value == pytest.approx((lung.value + 0.5) / 2)
    assert scores.over_cases["dice"].value == pytest.approx((0.8 + 0.55 + 0.0) / 3)
    assert scores.measures["hd95_mm"].per_label[0].value == pytest.approx(3.0)
    assert lung.low <= lung.value <= lung.high
    described = scores.to_dict()
    assert described["num_missed"] == {"lung": 1, "spleen": 0}
    assert described["dice"]["labels"]["spleen"]["value"] == pytest.approx(0.5)


def test_a_class_that_no_case_has_leaves_the_mean():
    scores = summarise_cases([CaseScores("a", "p", (agreement(0.8), UNDEFINED))], ("x", "y"))
    assert math.isnan(scores.measures["dice"].per_label[1].value)
    assert scores.measures["dice"].mean.value == pytest.approx(0.8)


def test_no_case_is_refused():
    with pytest.raises(ValueError, match="no case"):
        summarise_cases([], ("x",))
