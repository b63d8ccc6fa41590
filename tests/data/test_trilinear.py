import itertools

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from simcrop.data.trilinear import interpolate

VOXELS = np.random.default_rng(0).integers(-1024, 3000, (9, 14, 17)).astype(np.int16)


def exact(voxels, spacing, shape, new_spacing) -> np.ndarray:
    axes = [(np.arange(n) + 0.5) * b / a - 0.5
            for n, a, b in zip(shape, spacing, new_spacing, strict=True)]  # fmt: skip
    points = np.meshgrid(*axes, indexing="ij")
    return map_coordinates(voxels.astype(float), points, order=1, mode="nearest")


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (1, -1, 1), (-1, -1, -1)])
def test_against_scipy_on_every_view_of_memory(order, flips):
    view = VOXELS.transpose(order)[tuple(slice(None, None, step) for step in flips)]
    spacing, new, shape = (1.0, 0.7, 0.9), (2.2, 1.5, 0.6), (4, 5, 9)
    found = interpolate(view, spacing, shape, new)
    assert np.abs(found - exact(view, spacing, shape, new)).max() <= 0.501
    assert found.flags.c_contiguous


def test_planes_that_fall_on_old_ones_are_theirs_exactly():
    found = interpolate(VOXELS, (1.0, 0.6, 0.6), (3, 2, 3), (3.0, 3.0, 3.0))
    np.testing.assert_array_equal(found, VOXELS[1::3, 2:12:5, 2:15:5])


def test_halves_are_rounded_upwards_as_simpleitk_does():
    voxels = np.array([-4, -3, 2, 3], dtype=np.int16).reshape(4, 1, 1)
    found = interpolate(voxels, (1.0, 1.0, 1.0), (2, 1, 1), (2.0, 1.0, 1.0))
    np.testing.assert_array_equal(found.ravel(), (-3, 3))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32])
def test_other_integers_give_the_same(kind):
    positive = np.abs(VOXELS) % 256
    same = interpolate(positive.astype(kind), (1.0, 1.0, 1.0), (6, 6, 6), (1.5, 2.0, 2.0))
    np.testing.assert_array_equal(
        same, interpolate(positive.astype(np.int16), (1.0, 1.0, 1.0), (6, 6, 6), (1.5, 2.0, 2.0))
    )
