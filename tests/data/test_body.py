import numpy as np
import pytest
import torch

from simcrop.data.body import AIR_HU, MIN_SHARE, body_patches
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


@pytest.mark.parametrize("num_voxels", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("min_share", [0.05, 0.1, 0.15])
def test_a_patch_counts_from_the_smallest_share_on(air, num_voxels, min_share):
    air[:num_voxels, 0, 0] = 0
    found = body_patches(crop_of(air), GRID, min_share=min_share)[0]
    assert bool(found) == (num_voxels / VOXELS_PER_PATCH >= min_share)


def test_the_default_share_is_above_none_and_below_all():
    assert 0 < MIN_SHARE < 0.5  # a patch cut in two by the skin is a candidate


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
