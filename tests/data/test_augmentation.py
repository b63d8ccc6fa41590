import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simcrop.data.augmentation import draw_shift, generator_for, random_crop
from simcrop.data.contract import Contract

CONTRACT = Contract(crop_shape=(12, 12, 8), patch_shape=(4, 4, 4))


def numbered(shape) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def affine() -> np.ndarray:
    matrix = np.diag([1.5, 1.5, 3.0, 1.0])
    matrix[:3, 3] = (10, -20, 30)
    return matrix


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(2, 25)] * 3),
    flips=st.tuples(*[st.sampled_from([0.0, 0.5, 1.0])] * 3),
    seed=st.integers(0, 1000),
)
def test_every_voxel_of_a_random_crop_is_the_one_its_affine_says(shape, flips, seed):
    hu = numbered(shape)
    crop = random_crop(
        hu, affine(), CONTRACT, flip_probabilities=flips, rng=generator_for(seed, 0, 0)
    )
    assert crop.voxels.shape == crop.is_padding.shape == CONTRACT.crop_shape
    place = np.argwhere(~crop.is_padding)
    index = (np.linalg.inv(affine()) @ crop.affine)[:3] @ np.c_[place, np.ones(len(place))].T
    index = np.rint(index).astype(int)
    np.testing.assert_array_equal(crop.voxels[tuple(place.T)], hu[tuple(index)])
    smallest = np.minimum(np.maximum(np.floor(0.8 * np.array(shape)), 1), CONTRACT.crop_shape)
    assert len(place) >= np.prod(smallest)


@pytest.mark.parametrize(("axis", "name"), [(0, "x"), (1, "y"), (2, "z")])
def test_a_flip_reverses_the_axis_in_voxels_and_affine(axis, name):
    hu, always = numbered((12, 12, 8)), [0.0, 0.0, 0.0]
    always[axis] = 1.0
    crop = random_crop(hu, affine(), CONTRACT, crop_scale=(1.0, 1.0),
                       flip_probabilities=tuple(always), rng=generator_for(0, 0, 0))  # fmt: skip
    np.testing.assert_array_equal(crop.voxels, np.flip(hu, axis))
    expected = affine()
    expected[axis, axis] *= -1
    expected[axis, 3] += (hu.shape[axis] - 1) * affine()[axis, axis]
    np.testing.assert_allclose(crop.affine, expected)


def test_by_default_left_stays_left():
    crops = [random_crop(numbered((20, 20, 20)), affine(), CONTRACT, rng=generator_for(0, e, 0))
             for e in range(50)]  # fmt: skip
    assert all((np.diag(crop.affine) > 0).all() for crop in crops)


def test_scale_and_place_cover_their_range():
    rng, shape = generator_for(0, 0, 0), (20, 20, 20)
    tall = Contract(crop_shape=(20, 20, 20), patch_shape=(4, 4, 4))
    crops = [random_crop(numbered(shape), np.eye(4), tall, rng=rng) for _ in range(300)]
    sizes = {int((~crop.is_padding).any(axis=(1, 2)).sum()) for crop in crops}
    assert sizes == {16, 17, 18, 19, 20}
    starts = {int(crop.voxels[~crop.is_padding].min()) // 400 for crop in crops}
    assert starts == {0, 1, 2, 3, 4}


def test_padding_comes_from_the_box_alone():
    hu = numbered((10, 10, 10))
    crop = random_crop(hu, np.eye(4), CONTRACT, crop_scale=(0.5, 0.5), rng=generator_for(1, 0, 0))
    inside = crop.voxels[~crop.is_padding]
    assert len(inside) == 5**3
    assert np.isin(crop.voxels, inside).all()


def test_draws_depend_on_seed_epoch_and_item_and_on_nothing_else():
    def draw(*key):
        return generator_for(*key).random(4).tolist()

    keys = [(s, e, i) for s in range(3) for e in range(3) for i in range(3)]
    assert len({tuple(draw(*key)) for key in keys}) == len(keys)
    assert draw(1, 2, 0) == draw(1, 2, 0)


def test_crop_scales_out_of_range_are_refused():
    for scale in ((0.0, 1.0), (0.9, 0.8), (0.5, 1.1)):
        with pytest.raises(ValueError, match="crop_scale"):
            random_crop(numbered((9, 9, 9)), np.eye(4), CONTRACT, crop_scale=scale,
                        rng=generator_for(0, 0, 0))  # fmt: skip


def test_shifts_are_drawn_now_and_then():
    rng = generator_for(0, 0, 0)
    values = np.array([draw_shift(max_shift=0.1, probability=0.3, rng=rng) for _ in range(500)])
    assert 0.2 < (values != 0).mean() < 0.4
    assert 0.09 < np.abs(values).max() <= 0.1
