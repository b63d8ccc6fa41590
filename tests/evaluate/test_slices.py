import numpy as np
import pytest
import torch

from simcrop.evaluate.slices import (
    AXIAL,
    CORONAL,
    LUNG_WINDOW,
    SAGITTAL,
    mask_voxel,
    paint_patches,
    peak_voxel,
    spacing_of,
)
from simcrop.geometry import PatchGrid

SHAPE = (10, 8, 6)  # x to the right, y to the front, z to the head


def block(x=slice(None), y=slice(None), z=slice(None)):
    volume = np.zeros(SHAPE)
    volume[x, y, z] = 1
    return volume


MIDDLE = (5, 4, 3)


def halves(picture):
    """Return how bright the picture's left, right, top and bottom halves are."""
    rows, columns = (size // 2 for size in picture.shape)
    return {
        "left": picture[:, :columns].sum(),
        "right": picture[:, columns:].sum(),
        "top": picture[:rows].sum(),
        "bottom": picture[rows:].sum(),
    }


@pytest.mark.parametrize("plane", [AXIAL, CORONAL])
def test_the_patients_left_is_on_the_right_of_the_picture(plane):
    patients_left = block(x=slice(0, 3))  # x grows to the patient's right
    shown = halves(plane.cut(patients_left, MIDDLE))
    assert shown["right"] > 0
    assert shown["left"] == 0


def test_the_front_is_up_in_axial_and_on_the_left_in_sagittal_slices():
    front = block(y=slice(5, 8))
    assert halves(AXIAL.cut(front, MIDDLE))["bottom"] == 0
    assert halves(AXIAL.cut(front, MIDDLE))["top"] > 0
    assert halves(SAGITTAL.cut(front, MIDDLE))["right"] == 0
    assert halves(SAGITTAL.cut(front, MIDDLE))["left"] > 0


@pytest.mark.parametrize("plane", [CORONAL, SAGITTAL])
def test_the_head_is_up(plane):
    head = block(z=slice(4, 6))
    assert halves(plane.cut(head, MIDDLE))["bottom"] == 0
    assert halves(plane.cut(head, MIDDLE))["top"] > 0


@pytest.mark.parametrize("plane", [AXIAL, CORONAL, SAGITTAL])
def test_a_voxel_is_found_where_the_picture_shows_it(plane):
    at = (2, 6, 1)
    volume = np.zeros(SHAPE)
    volume[at] = 1
    picture = plane.cut(volume, at)
    column, row = plane.pixel(at, SHAPE)
    assert picture[row, column] == 1
    assert picture.sum() == 1


def test_pixels_keep_the_size_of_voxels():
    assert AXIAL.pixel_mm((1.5, 2.0, 3.0)) == (1.5, 2.0)
    assert CORONAL.pixel_mm((1.5, 2.0, 3.0)) == (1.5, 3.0)
    assert SAGITTAL.pixel_mm((1.5, 2.0, 3.0)) == (2.0, 3.0)


def test_spacing_refuses_axes_that_are_not_ras():
    assert spacing_of(np.diag([1.5, 2.0, 3.0, 1.0])) == (1.5, 2.0, 3.0)
    with pytest.raises(ValueError, match="not in RAS"):
        spacing_of(np.diag([-1.5, 1.5, 3.0, 1.0]))
    with pytest.raises(ValueError, match="not in RAS"):
        spacing_of(np.diag([1.5, 1.5, 3.0, 1.0])[[1, 0, 2, 3]])


def test_the_peak_is_the_middle_of_the_best_patch_and_ignores_nan():
    values = np.full((2, 2, 2), 0.1)
    values[1, 0, 1] = 0.9
    painted = paint_patches(values.ravel(), (2, 2, 2), (5, 5, 3))
    assert peak_voxel(painted) == (7, 2, 4)
    painted[0, 0, 0] = np.nan
    assert peak_voxel(painted) == (7, 2, 4)


def test_the_mask_voxel_lies_in_the_largest_slices():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:4, 3:7, 1] = True
    mask[9, 7, 5] = True
    assert mask_voxel(mask) == (2, 3, 1)
    with pytest.raises(ValueError, match="mask is empty"):
        mask_voxel(np.zeros(SHAPE, dtype=bool))


def test_painting_follows_the_order_of_the_patch_grid():
    grid = PatchGrid((4, 6, 4), (2, 3, 1))
    values = np.arange(grid.num_patches, dtype=float)
    painted = paint_patches(values, grid.shape, grid.patch_shape)
    cut = grid.cut(torch.from_numpy(painted))
    np.testing.assert_array_equal(cut.numpy(), values[:, None].repeat(grid.patch_voxels, axis=1))


def test_a_window_says_what_is_black_and_white():
    assert LUNG_WINDOW.limits_hu == (-1350, 150)
