from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simcrop.data.augmentation import draw_place, generator_for
from simcrop.data.body import body_patches
from simcrop.data.contract import Contract
from simcrop.data.preprocessing import center_place, cut, normalise
from simcrop.data.views import view_of

CONTRACT = Contract(crop_shape=(12, 9, 8), patch_shape=(4, 3, 2))


def noisy(shape, order: str) -> np.ndarray:
    values = np.random.default_rng(0).integers(-1100, 1500, shape, dtype=np.int16)
    return np.asarray(values, order=order)


def expect_the_steps(hu, place, contract, shift=0.0) -> None:
    crop, view = cut(hu, np.eye(4), place, contract), view_of(hu, place, contract, shift)
    expected = normalise(crop.voxels, contract)
    np.testing.assert_array_equal(view.voxels, expected + np.float32(shift))
    np.testing.assert_array_equal(view.is_padding, crop.is_padding)
    np.testing.assert_array_equal(view.is_body, body_patches(crop, contract.patch_grid))
    assert view.voxels.dtype == np.float32


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 26)] * 3),
    flips=st.tuples(*[st.sampled_from([0.0, 1.0])] * 3),
    padding=st.sampled_from(["reflect", "air"]),
    order=st.sampled_from("CF"),
    seed=st.integers(0, 1000),
)
def test_one_pass_gives_what_the_steps_give_one_by_one(shape, flips, padding, order, seed):
    contract = replace(CONTRACT, padding=padding)
    place = draw_place(shape, contract, crop_scale=(0.5, 1.0), flip_probabilities=flips,
                       rng=generator_for(seed, 0, 0))  # fmt: skip
    expect_the_steps(noisy(shape, order), place, contract, shift=0.03 if seed % 2 else 0.0)


@pytest.mark.parametrize("shape", [(12, 9, 8), (40, 30, 20), (5, 30, 3)])
def test_the_centre_crop_is_seen_likewise(shape):
    expect_the_steps(noisy(shape, "F"), center_place(shape, CONTRACT), CONTRACT)


def test_thick_patches_are_counted_whole():
    thick = Contract(crop_shape=(300, 3, 2), patch_shape=(300, 3, 2))
    body = np.full((300, 3, 2), 40, dtype=np.int16)
    body[: 300 - 75] = -1000
    place = center_place(body.shape, thick)
    assert view_of(body, place, thick).is_body.all()  # a quarter of the patch
    body[225] = -1000
    assert not view_of(body, place, thick).is_body.any()


def test_only_the_box_is_read():
    class Watched(np.ndarray):
        def __getitem__(self, key):
            assert key == place.box
            return np.asarray(self)[key]

    hu = noisy((30, 30, 30), "C")
    place = center_place(hu.shape, CONTRACT)
    found = view_of(hu.view(Watched), place, CONTRACT).voxels
    np.testing.assert_array_equal(found, view_of(hu, place, CONTRACT).voxels)
