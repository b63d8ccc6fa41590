"""The fixed position tables."""

import itertools

import pytest
import torch

from reference import networks as reference
from simcrop.model.position_embedding import (
    POSITION_EMBEDDINGS,
    position_table,
    sine_cosine_3d,
    two_axis,
)

PAPER_GRID = (14, 14, 14)
WIDTHS = [6, 48, 50, 64, 768]


def cells(shape):
    return itertools.product(*[range(n) for n in shape])


@pytest.mark.parametrize("dim", WIDTHS)
def test_sine_cosine_agrees_with_the_reference(dim):
    rows = [reference.position_row(cell, dim) for cell in cells((2, 3, 4))]
    torch.testing.assert_close(sine_cosine_3d((2, 3, 4), dim), torch.tensor(rows))


@pytest.mark.parametrize("dim", [2, 48, 50, 64, 768])
def test_two_axis_agrees_with_the_reference(dim):
    rows = [reference.two_axis_row(cell, dim) for cell in cells((2, 3, 4))]
    torch.testing.assert_close(two_axis((2, 3, 4), dim), torch.tensor(rows))


@pytest.mark.parametrize("dim", WIDTHS)
def test_at_the_paper_s_size_all_2744_rows_differ(dim):
    table = sine_cosine_3d(PAPER_GRID, dim)
    assert table.shape == (2744, dim)
    assert len(table.unique(dim=0)) == 2744
    assert torch.cdist(table, table).fill_diagonal_(torch.inf).min() > 0.01


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("dim", WIDTHS)
def test_cells_along_each_axis_differ_and_only_in_the_channels_of_that_axis(axis, dim):
    table = sine_cosine_3d((5, 6, 7), dim).reshape(5, 6, 7, dim)
    line = table.movedim(axis, 0)[:, 2, 3]
    assert len(line.unique(dim=0)) == len(line)
    width = 2 * (dim // 6)
    channels = torch.arange(dim) // width == axis
    assert torch.equal(line[:, ~channels], line[:1, ~channels].expand(len(line), -1))


def test_channels_that_are_left_over_stay_zero():
    table = sine_cosine_3d(PAPER_GRID, 64)
    assert not table[:, 60:].any()


def test_two_axis_has_196_distinct_rows_that_ignore_depth():
    table = two_axis(PAPER_GRID, 768)
    assert len(table.unique(dim=0)) == 196
    by_cell = table.reshape(*PAPER_GRID, 768)
    assert torch.equal(by_cell, by_cell[:, :, :1].expand_as(by_cell))


@pytest.mark.parametrize("name", sorted(POSITION_EMBEDDINGS))
def test_tables_are_fetched_by_name(name):
    table = position_table(name, (2, 3, 4), 48)
    assert torch.equal(table, POSITION_EMBEDDINGS[name]((2, 3, 4), 48))


def test_unknown_tables_and_unsuitable_widths_are_refused():
    with pytest.raises(ValueError, match="'learned'; choose one of"):
        position_table("learned", (2, 2, 2), 48)
    with pytest.raises(ValueError, match="three axes need at least 6"):
        sine_cosine_3d((2, 2, 2), 5)
    with pytest.raises(ValueError, match="odd width 7"):
        two_axis((2, 2, 2), 7)
