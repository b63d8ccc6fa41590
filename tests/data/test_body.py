import numpy as np
import pytest
import torch

from simcrop.data.body import AIR_HU, body_patches
from simcrop.data.contract import Contract
from simcrop.data.preprocessing import Crop, center_crop
from simcrop.geometry import PatchGrid

GRID = PatchGrid((8, 6, 4), (4, 3, 2))
VOXELS_PER_PATCH = 24


def crop_of(hu: np.ndarray, is_padding: np.ndarray | None = None) -> Crop:
    is_padding = np.zeros(hu.shape, dtype=bool) if is_padding is None else is_padding
    return Crop(hu.astype(np.int16), np.eye(4), is_padding)


@pytest.fixture
def air() -> np.ndarray:
    return np.full(GRID.crop_shape, -1000)


def test_air_is_no_body_and_tissue_is(air):
    assert not body_patches(crop_of(air), GRID).any()
    assert body_patches(crop_of(np.full(GRID.crop_shape, 40)), GRID).all()
    assert body_patches(crop_of(np.full(GRID.crop_shape, -850)), GRID).all()  # lung


@pytest.mark.parametrize("index", range(GRID.num_patches))
def test_only_the_patch_that_holds_tissue_counts(air, index):
    air[GRID.voxel_box(index)] = 0
    assert np.flatnonzero(body_patches(crop_of(air), GRID)).tolist() == [index]


@pytest.mark.parametrize(("num_voxels", "counts"), [(2, False), (3, True)])
def test_a_tenth_of_the_voxels_is_enough(air, num_voxels, counts):
    air[:num_voxels, 0, 0] = 0
    assert body_patches(crop_of(air), GRID)[0] == counts
    assert (num_voxels >= 0.1 * VOXELS_PER_PATCH) == counts


def test_the_threshold_itself_is_air(air):
    assert not body_patches(crop_of(np.full(GRID.crop_shape, AIR_HU)), GRID).any()
    assert body_patches(crop_of(np.full(GRID.crop_shape, AIR_HU + 1)), GRID).all()


def test_padding_is_no_body_however_it_looks():
    contract = Contract(spacing_mm=(1.0, 1.0, 1.0), crop_shape=(8, 6, 4), patch_shape=(4, 3, 2))
    small = np.full((4, 6, 4), 40, dtype=np.int16)
    crop = center_crop(small, np.eye(4), contract)  # mirrored on both sides along x
    assert (crop.voxels == 40).all()
    assert (GRID.share(torch.from_numpy(crop.is_padding)) == 0.5).all()
    assert body_patches(crop, GRID).all()
    assert not body_patches(crop, GRID, min_share=0.6).any()
    everything = crop_of(crop.voxels, np.ones(crop.voxels.shape, dtype=bool))
    assert not body_patches(everything, GRID).any()
