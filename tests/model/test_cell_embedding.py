"""Patches to tokens by way of their cells."""

import pytest
import torch

from simcrop.geometry import PatchGrid
from simcrop.model.cell_embedding import STEPS, CellEmbedding, share_table

GRID = PatchGrid((16, 8, 12), (8, 4, 6))
LEVELS = (-1.0, -0.5, 0.0, 1.0)


def build(**changes) -> CellEmbedding:
    torch.manual_seed(0)
    settings = {
        "block_shape": (2, 2, 1), "cell_shape": (2, 1, 3), "cell_dim": 5, "levels": LEVELS
    } | changes  # fmt: skip
    return CellEmbedding(GRID, 10, **settings).double()


def random_voxels() -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.rand(2, *GRID.crop_shape, generator=draw, dtype=torch.float64) * 2 - 1


def test_shares_sum_to_one_and_lie_on_the_levels_on_either_side():
    table = share_table(LEVELS)
    values = torch.linspace(-1, 1, len(table))
    torch.testing.assert_close(table.sum(dim=1), torch.ones(len(table)))
    assert (table > 0).sum(dim=1).max() == 2
    torch.testing.assert_close(table @ torch.tensor(LEVELS), values, rtol=0, atol=1e-6)


def test_values_beyond_the_levels_belong_to_the_outermost():
    table = share_table((-0.5, 0.5))
    assert table[0].tolist() == [1, 0]
    assert table[-1].tolist() == [0, 1]


def test_the_tokens_are_those_of_averages_and_two_strided_convolutions():
    embedding, voxels = build(), random_voxels()
    step = ((voxels + 1) / 2 * (STEPS - 1)).round().long()
    shares = embedding.shares[step].movedim(-1, 1)
    blocks = torch.nn.functional.avg_pool3d(shares, (2, 2, 1))
    kernel = embedding.cell.weight.reshape(5, 2, 1, 3, 4).movedim(-1, 1)
    answers = torch.nn.functional.conv3d(2 * blocks, kernel, embedding.cell.bias, stride=(2, 1, 3))
    kernel = embedding.projection.weight.reshape(10, 2, 2, 2, 5).movedim(-1, 1)
    expected = torch.nn.functional.conv3d(
        torch.nn.functional.gelu(answers), kernel, embedding.projection.bias, stride=(2, 2, 2)
    )
    found = embedding(GRID.cut(voxels))
    torch.testing.assert_close(found, expected.flatten(start_dim=2).mT, rtol=0, atol=1e-12)


def test_each_token_depends_on_its_own_patch_alone():
    embedding, voxels = build(), random_voxels()
    changed = voxels.clone()
    changed[0][GRID.voxel_box(3)] *= -1
    moved = (embedding(GRID.cut(changed)) != embedding(GRID.cut(voxels))).any(dim=-1)
    assert moved.nonzero().tolist() == [[0, 3]]


def test_densities_of_equal_average_are_told_apart():
    """Half air and half tissue is not the haze between them, as it is for a linear map."""
    embedding = build()
    haze = torch.zeros(1, GRID.num_patches, GRID.patch_voxels, dtype=torch.float64)
    mixed = haze.clone()
    mixed[..., ::2], mixed[..., 1::2] = 0.75, -0.75
    assert not torch.allclose(embedding(haze), embedding(mixed), atol=1e-3)


def test_impossible_cells_and_levels_are_refused():
    with pytest.raises(ValueError, match="do not fill"):
        build(cell_shape=(3, 1, 3))
    for levels in ((0.0,), (0.0, 0.0), (1.0, -1.0)):
        with pytest.raises(ValueError, match="ascending"):
            build(levels=levels)
