"""The patch grid: cut and join, and where every patch lies."""

import einops
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simcrop.geometry import PatchGrid

sizes = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 4))


@st.composite
def grids(draw):
    shape, patch = draw(sizes), draw(sizes)
    return PatchGrid(tuple(g * p for g, p in zip(shape, patch, strict=True)), patch)


def numbered_voxels(grid: PatchGrid) -> torch.Tensor:
    """Return a volume in which every voxel has a value of its own."""
    return torch.arange(np.prod(grid.crop_shape)).reshape(grid.crop_shape).double()


def tilted_affine() -> np.ndarray:
    """Return an affine with a rotation, anisotropic spacing and an offset."""
    cos, sin = np.cos(0.3), np.sin(0.3)
    affine = np.eye(4)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    affine[:3, :3] = rotation @ np.diag([1.5, 1.4, 3.0])
    affine[:3, 3] = [-80.0, 12.5, 300.0]
    return affine


@given(grids(), st.integers(0, 2))
@settings(max_examples=50, deadline=None)
def test_join_undoes_cut_on_any_grid(grid, num_batch_axes):
    voxels = torch.rand(*[2] * num_batch_axes, *grid.crop_shape)
    patches = grid.cut(voxels)
    assert patches.shape[-2:] == (grid.num_patches, grid.patch_voxels)
    assert torch.equal(grid.join(patches), voxels)


@given(grids())
@settings(max_examples=50, deadline=None)
def test_each_row_of_cut_holds_the_voxels_of_its_box(grid):
    voxels = numbered_voxels(grid)
    patches = grid.cut(voxels)
    for index in range(grid.num_patches):
        assert torch.equal(patches[index], voxels[grid.voxel_box(index)].flatten())


@given(grids())
@settings(max_examples=50, deadline=None)
def test_boxes_tile_the_crop_once(grid):
    times_covered = np.zeros(grid.crop_shape, dtype=int)
    for index in range(grid.num_patches):
        times_covered[grid.voxel_box(index)] += 1
    assert (times_covered == 1).all()


@given(grids())
@settings(max_examples=50, deadline=None)
def test_index_undoes_cell_and_the_last_axis_runs_fastest(grid):
    cells = [grid.cell(index) for index in range(grid.num_patches)]
    assert [grid.index(cell) for cell in cells] == list(range(grid.num_patches))
    assert cells == sorted(cells)


def test_paper_grid_has_2744_patches_of_2048_voxels():
    grid = PatchGrid((224, 224, 112), (16, 16, 8))
    assert grid.shape == (14, 14, 14)
    assert (grid.num_patches, grid.patch_voxels) == (2744, 2048)
    assert grid.cell(14 * 14 + 2 * 14 + 3) == (1, 2, 3)


@given(grids())
@settings(max_examples=30, deadline=None)
def test_a_patch_centre_in_mm_is_the_mean_of_its_voxel_centres(grid):
    affine = tilted_affine()
    voxel_index = np.moveaxis(np.indices(grid.crop_shape), 0, -1)
    voxel_mm = voxel_index @ affine[:3, :3].T + affine[:3, 3]
    centers = grid.centers_mm(affine)
    for index in range(grid.num_patches):
        mean = voxel_mm[grid.voxel_box(index)].reshape(-1, 3).mean(axis=0)
        np.testing.assert_allclose(centers[index], mean, atol=1e-9)


@given(grids())
@settings(max_examples=30, deadline=None)
def test_grid_affine_maps_every_cell_to_its_centre(grid):
    crop_affine = tilted_affine()
    affine = grid.affine(crop_affine)
    centers = grid.centers_mm(crop_affine)
    for index in range(grid.num_patches):
        np.testing.assert_allclose((affine @ [*grid.cell(index), 1])[:3], centers[index])


def test_grid_affine_keeps_the_outer_border_of_the_crop():
    grid = PatchGrid((32, 48, 16), (16, 16, 8))
    crop_affine = tilted_affine()
    corner_of_voxels = crop_affine @ [-0.5, -0.5, -0.5, 1]
    corner_of_cells = grid.affine(crop_affine) @ [-0.5, -0.5, -0.5, 1]
    np.testing.assert_allclose(corner_of_cells, corner_of_voxels)
    far_voxel = crop_affine @ [31.5, 47.5, 15.5, 1]
    far_cell = grid.affine(crop_affine) @ [1.5, 2.5, 1.5, 1]
    np.testing.assert_allclose(far_cell, far_voxel)


@given(grids(), st.integers(0, 4))
@settings(max_examples=30, deadline=None)
def test_neighbours_are_the_cells_within_reach_along_every_axis(grid, reach):
    near = grid.neighbours(reach)
    assert torch.equal(near, near.T)
    for i in range(grid.num_patches):
        for j in range(grid.num_patches):
            steps = [abs(a - b) for a, b in zip(grid.cell(i), grid.cell(j), strict=True)]
            assert near[i, j].item() == (max(steps) <= reach)


def test_share_is_the_part_of_a_patch_that_is_inside():
    grid = PatchGrid((4, 4, 2), (2, 2, 2))
    is_inside = torch.zeros(1, 4, 4, 2, dtype=torch.bool)
    is_inside[0, :2, :2, :] = True
    is_inside[0, 3, 3, 1] = True
    assert grid.share(is_inside).tolist() == [[1.0, 0.0, 0.0, 0.125]]


@pytest.mark.parametrize(
    ("crop", "patch"),
    [
        ((32, 32, 15), (16, 16, 8)),
        ((8, 32, 16), (16, 16, 8)),
        ((0, 32, 16), (16, 16, 8)),
        ((32, 32, 16), (16, 16, 0)),
    ],
)
def test_a_crop_that_is_no_whole_number_of_patches_is_refused(crop, patch):
    with pytest.raises(ValueError, match="whole number of patches"):
        PatchGrid(crop, patch)


def test_indices_and_cells_outside_the_grid_are_refused():
    grid = PatchGrid((32, 32, 16), (16, 16, 8))
    for index in (-1, 8):
        with pytest.raises(IndexError, match="grid with 8 patches"):
            grid.cell(index)
    for cell in ((-1, 0, 0), (0, 2, 0)):
        with pytest.raises(ValueError, match="invalid entry"):
            grid.index(cell)


def test_volumes_of_another_shape_than_the_crop_are_refused():
    grid = PatchGrid((32, 32, 16), (16, 16, 8))
    with pytest.raises(einops.EinopsError, match="Shape mismatch"):
        grid.cut(torch.zeros(1, 64, 64, 32))
