"""The authors' layout at the paper's geometry, and the rules that carry it to other patches."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simcrop.geometry import PatchGrid
from simcrop.model.position_embedding import position_table
from simcrop.model.unetr import UNETR, skip_blocks, up_steps
from simcrop.model.vision_encoder import VisionEncoder


def encoder(crop=(24, 12, 12), patch=(12, 12, 6), depth=3) -> VisionEncoder:
    torch.manual_seed(0)
    return VisionEncoder(PatchGrid(crop, patch), dim=12, depth=depth, heads=2)


def shapes_of_maps(network: UNETR, crop) -> dict[str, tuple[int, ...]]:
    """The channels and voxels of every map that the decoder makes of one crop."""
    shapes = {}
    for name, part in network.named_modules():
        part.register_forward_hook(
            lambda _, __, out, name=name: shapes.update({name: tuple(out.shape[1:])})
        )
    with torch.no_grad():
        network(torch.zeros(1, 1, *crop))
    return shapes


def test_the_paper_crop_gives_the_maps_of_the_authors_layout():
    network = UNETR(encoder((96, 96, 48), (16, 16, 8), depth=12), num_classes=14)
    shapes = shapes_of_maps(network, (96, 96, 48))
    assert network.skip_blocks == (4, 7, 10)
    assert shapes["input_skip"] == (16, 96, 96, 48)
    assert [shapes[f"skips.{i}"] for i in range(3)] == [
        (32, 48, 48, 48),
        (64, 24, 24, 24),
        (128, 12, 12, 12),
    ]
    assert shapes["joins.2"] == (32, 48, 48, 48)
    assert shapes["narrow"] == shapes["last_join"] == (16, 96, 96, 48)
    assert shapes[""] == (14, 96, 96, 48)


@pytest.mark.parametrize(
    ("crop", "patch"),
    [((24, 12, 12), (12, 12, 6)), ((16, 16, 8), (8, 8, 8)), ((20, 12, 10), (4, 6, 5))],
)
def test_any_patch_gives_logits_at_the_crop_and_every_parameter_learns(crop, patch):
    network = UNETR(encoder(crop, patch), num_classes=3, feature_size=2)
    voxels = torch.randn(2, 1, *crop)
    logits = network(voxels)
    assert logits.shape == (2, 3, *crop)
    logits.square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


def test_nothing_of_class_token_or_final_norm_comes_along():
    donor = encoder()
    names = UNETR(donor, 2, feature_size=2).state_dict()
    assert torch.equal(names["norm.weight"], torch.ones(12))
    assert not any("cls" in name for name in names)
    own = {name for name, _ in donor.named_parameters() if name.startswith(("blocks", "patch"))}
    assert own <= names.keys()


def test_batch_gives_what_crops_give_one_by_one():
    network = UNETR(encoder(), 3, feature_size=2).eval()
    voxels = torch.randn(3, 1, 24, 12, 12)
    alone = torch.cat([network(one[None]) for one in voxels])
    torch.testing.assert_close(network(voxels), alone, rtol=0, atol=1e-4)


@given(st.integers(1, 48))
def test_skips_rise_with_the_depth(depth):
    first, second, third = skip_blocks(depth)
    assert 1 <= first <= second <= third <= depth


@given(st.tuples(*[st.integers(1, 64)] * 3))
def test_steps_divide_the_patch(patch):
    for size, factors in zip(patch, zip(*up_steps(patch), strict=True), strict=True):
        assert size % math.prod(factors) == 0
        assert list(factors) == sorted(factors, reverse=True)


def test_positions_keep_their_physical_step():
    """Cells of half the size take every second row of a table with cells of the whole size."""
    whole = position_table("sine_cosine_3d", (3, 2, 2), 24)
    half = position_table("sine_cosine_3d", (5, 3, 3), 24, (0.5, 0.5, 0.5))
    kept = half.reshape(5, 3, 3, 24)[::2, ::2, ::2].reshape(-1, 24)
    torch.testing.assert_close(whole, kept)
    network = UNETR(encoder(), 2, feature_size=2, step=(1.0, 1.0, 0.5))
    grid = network.grid.shape
    assert torch.equal(
        network.position, position_table("sine_cosine_3d", grid, 12, (1.0, 1.0, 0.5))
    )


def test_unknown_positions_are_refused():
    with pytest.raises(ValueError, match="stored"):
        UNETR(encoder(), 2, position="stored")
