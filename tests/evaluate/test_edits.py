"""Edits of a crop: what is filled in, what stays, and where another region may lie."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from simcrop.data.preprocessing import Crop
from simcrop.evaluate.edits import erase, mirror, mirror_patches, moved_region, with_margin


def chest(shape=(20, 16, 12)):
    """Air outside, tissue of 40 +- 20 HU inside, padding in the last slice."""
    rng = np.random.default_rng(0)
    voxels = np.full(shape, -1000, dtype=np.int16)
    voxels[2:-2, 2:-2] = rng.normal(40, 20, size=voxels[2:-2, 2:-2].shape)
    padding = np.zeros(shape, dtype=bool)
    padding[..., -1] = True
    voxels[padding] = 3000  # must never be used as a fill
    return Crop(voxels, np.eye(4), padding)


def ball(shape=(20, 16, 12), center=(6, 7, 5), radius=2):
    cells = np.indices(shape).T - np.array(center)
    return ((cells**2).sum(axis=-1) <= radius**2).T


def test_an_erased_finding_is_filled_with_the_hu_beside_it():
    crop, mask = chest(), ball()
    crop.voxels[mask] = 900  # calcium
    crop.voxels[binary_dilation(mask) & ~mask] = 400  # its blurred edge
    erased = erase(crop, mask)
    region = with_margin(mask)
    around = binary_dilation(region, iterations=2) & ~region
    assert set(erased.voxels[region]) <= set(crop.voxels[around])
    assert erased.voxels[region].max() < 120
    np.testing.assert_array_equal(erased.voxels[~region], crop.voxels[~region])


def test_padding_and_empty_masks_give_nothing():
    crop = chest()
    at_the_end = ball(center=(8, 8, 10), radius=1)
    assert erase(crop, at_the_end).voxels[at_the_end & ~crop.is_padding].max() < 120
    assert erase(crop, np.zeros(crop.voxels.shape, dtype=bool)) is crop
    assert erase(crop, np.ones(crop.voxels.shape, dtype=bool)) is crop


def test_the_other_region_has_the_same_shape_lies_in_the_body_and_apart():
    crop, mask = chest(), ball()
    generator = np.random.default_rng(3)
    places = set()
    for _ in range(20):
        moved = moved_region(crop, mask, generator)
        assert moved.sum() == mask.sum()
        assert not (moved & with_margin(mask, 2)).any()
        assert (crop.voxels[moved] > -900).mean() >= 0.9
        shift = np.argwhere(moved)[0] - np.argwhere(mask)[0]
        np.testing.assert_array_equal(np.argwhere(moved) - np.argwhere(mask), [shift] * mask.sum())
        places.add(tuple(shift))
    assert len(places) > 10


def test_a_finding_that_fills_the_body_has_no_other_region():
    crop = chest()
    generator = np.random.default_rng(0)
    assert moved_region(crop, crop.voxels > -900, generator) is None
    assert moved_region(crop, np.zeros(crop.voxels.shape, dtype=bool), generator) is None


def test_mirroring_exchanges_left_and_right_of_voxels_and_patches_alike():
    crop = chest()
    mirrored = mirror(crop)
    np.testing.assert_array_equal(mirrored.voxels, crop.voxels[::-1])
    np.testing.assert_array_equal(mirror(mirrored).voxels, crop.voxels)
    cells = crop.voxels.reshape(5, 4, 4, 4, 3, 4).mean(axis=(1, 3, 5))
    of_mirrored = mirrored.voxels.reshape(5, 4, 4, 4, 3, 4).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(mirror_patches(cells.ravel(), cells.shape), of_mirrored.ravel())
    stacked = np.stack([cells.ravel(), 2 * cells.ravel()])
    assert mirror_patches(stacked, cells.shape)[1] == pytest.approx(2 * of_mirrored.ravel())
