"""Classes of label maps: values to classes and back, and what left and right do to them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcrop.data.label_maps import Classes
from simcrop.data.label_names import BTCV, LUNA16_SEGMENTATION
from simcrop.errors import DataError

GAPPY = Classes.of({2: "left lung", 7: "right lung", 0: "background"})


@given(st.lists(st.sampled_from([0, 2, 7]), min_size=1, max_size=24))
def test_values_of_classes_are_the_values_of_the_file(values):
    labels = np.array(values, dtype=np.uint8).reshape(-1, 1, 1)
    classes = GAPPY.index(labels, "a map")
    assert classes.max() < len(GAPPY)
    np.testing.assert_array_equal(GAPPY.value_of(classes), labels)


def test_background_need_not_be_named():
    assert Classes.of({1: "lung"}) == Classes(("background", "lung"), (0, 1))


@pytest.mark.parametrize("value", [1, 8, 255, 300, -1, 2.5])
def test_values_without_a_name_are_refused(value):
    labels = np.full((2, 2, 2), value, dtype=np.float32 if value == 2.5 else np.int16)
    with pytest.raises(DataError, match="map of P1"):
        GAPPY.index(labels, "map of P1")


def test_whole_numbers_in_a_file_of_floats_are_taken():
    labels = np.array([0.0, 2.0, 7.0]).reshape(3, 1, 1)
    assert GAPPY.index(labels, "a map").ravel().tolist() == [0, 1, 2]


@pytest.mark.parametrize("names", [{}, {0: "background"}, {1: "lung", 255: "liver"}])
def test_impossible_classes_are_refused(names):
    with pytest.raises(DataError, match="0 for background"):
        Classes.of(names)


def test_mirrored_exchanges_left_and_right():
    assert Classes.of(dict(enumerate(LUNA16_SEGMENTATION))).mirrored == (0, 2, 1, 3)
    mirrored = Classes.of(dict(enumerate(BTCV))).mirrored
    names = [BTCV[i] for i in mirrored]
    assert names[2:4] == ["left kidney", "right kidney"]
    assert names[12:] == ["left adrenal gland", "right adrenal gland"]
    assert names[1] == "spleen"
    assert [mirrored[i] for i in mirrored] == list(range(len(BTCV)))


def test_a_side_without_a_partner_has_no_mirror_image():
    assert Classes.of({1: "left lung", 2: "trachea"}).mirrored is None
    assert Classes.of({1: "upright object"}).mirrored == (0, 1)
