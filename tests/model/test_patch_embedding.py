"""Patches to tokens."""

import pytest
import torch

from simcrop.geometry import PatchGrid
from simcrop.model.patch_embedding import PatchEmbedding

GRIDS = [PatchGrid((8, 12, 6), (4, 4, 2)), PatchGrid((12, 4, 10), (3, 2, 5))]


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_the_embedding_is_a_strided_convolution_of_the_same_weights(grid):
    torch.manual_seed(0)
    embedding = PatchEmbedding(grid, dim=10).double()
    convolution = torch.nn.Conv3d(1, 10, grid.patch_shape, grid.patch_shape).double()
    with torch.no_grad():
        kernel = embedding.projection.weight.reshape(10, 1, *grid.patch_shape)
        convolution.weight.copy_(kernel)
        torch.nn.init.normal_(embedding.projection.bias)
        convolution.bias.copy_(embedding.projection.bias)
    voxels = torch.rand(2, *grid.crop_shape, dtype=torch.float64) * 2 - 1
    expected = convolution(voxels[:, None]).flatten(start_dim=2).mT
    torch.testing.assert_close(embedding(grid.cut(voxels)), expected, rtol=0, atol=1e-12)


def test_each_token_depends_on_its_own_patch_alone():
    grid = GRIDS[0]
    embedding = PatchEmbedding(grid, dim=10)
    voxels = torch.rand(1, *grid.crop_shape)
    changed = voxels.clone()
    changed[0][grid.voxel_box(7)] += 1
    moved = (embedding(grid.cut(changed)) != embedding(grid.cut(voxels))).any(dim=-1)
    assert moved.nonzero().tolist() == [[0, 7]]
