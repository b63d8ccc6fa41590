"""The vision encoder: tokens, visibility and reach."""

import pytest
import torch

from simcrop.geometry import PatchGrid
from simcrop.model.patch_masking import gather, mask_patches
from simcrop.model.vision_encoder import VisionEncoder

GRID = PatchGrid((8, 12, 10), (2, 4, 2))  # 4 x 3 x 5 patches


def build(grid=GRID, depth=2, **settings):
    torch.manual_seed(0)
    return VisionEncoder(grid, dim=12, depth=depth, heads=3, **settings).double()


def random_patches(batch=2, grid=GRID):
    draw = torch.Generator().manual_seed(1)
    shape = batch, grid.num_patches, grid.patch_voxels
    return torch.rand(shape, generator=draw, dtype=torch.float64) * 2 - 1


def visible_patches(batch=2):
    return mask_patches(batch, GRID.num_patches, 0.75, torch.Generator().manual_seed(2)).visible


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_without_blocks_a_token_is_embedding_plus_position_and_cls_has_none():
    encoder, patches = build(depth=0), random_patches()
    encoded = encoder(patches)
    expected = encoder.patch_embedding(patches) + encoder.position
    torch.testing.assert_close(encoded.before_norm, expected)
    cls = encoder.norm(encoder.cls_token).expand(2, -1)
    torch.testing.assert_close(encoded.cls_token, cls)


def test_patch_tokens_are_the_normalised_last_block():
    encoder = build()
    torch.nn.init.normal_(encoder.norm.weight)
    encoded = encoder(random_patches())
    torch.testing.assert_close(encoded.patch_tokens, encoder.norm(encoded.before_norm))


def test_naming_all_patches_as_visible_is_the_same_as_naming_none():
    encoder, patches = build(), random_patches()
    everything = torch.arange(GRID.num_patches).expand(2, -1)
    assert_same(encoder(patches, everything), encoder(patches))


def test_hidden_patches_are_absent():
    """Whatever stands in a hidden patch, the visible ones are encoded alike."""
    encoder, patches, visible = build(), random_patches(), visible_patches()
    is_hidden = torch.ones(2, GRID.num_patches, dtype=torch.bool).scatter(1, visible, False)
    other = patches.masked_fill(is_hidden[:, :, None], 9.0)
    assert_same(encoder(other, visible), encoder(patches, visible))


def test_a_subset_encodes_as_in_a_network_that_knows_no_other_patches():
    """Run the blocks by hand on the visible tokens alone."""
    encoder, patches, visible = build(), random_patches(), visible_patches()
    tokens = encoder.patch_embedding(patches) + encoder.position
    tokens = gather(tokens, visible)
    tokens = torch.cat([encoder.cls_token.expand(2, 1, -1), tokens], dim=1)
    for block in encoder.blocks:
        tokens = block(tokens)
    encoded = encoder(patches, visible)
    torch.testing.assert_close(encoded.before_norm, tokens[:, 1:])
    torch.testing.assert_close(encoded.cls_token, encoder.norm(tokens)[:, 0])


@pytest.mark.parametrize("reach", [None, 1])
def test_tokens_follow_the_order_of_the_visible_indices(reach):
    encoder, patches, visible = build(), random_patches(), visible_patches()
    order = torch.randperm(visible.shape[1], generator=torch.Generator().manual_seed(3))
    encoded = encoder(patches, visible, reach)
    moved = encoder(patches, visible[:, order], reach)
    torch.testing.assert_close(moved.cls_token, encoded.cls_token)
    torch.testing.assert_close(moved.patch_tokens, encoded.patch_tokens[:, order])


@pytest.mark.parametrize("reach", [None, 1])
@pytest.mark.parametrize("is_masked", [False, True])
def test_a_batch_gives_what_its_volumes_give_one_by_one(is_masked, reach):
    encoder, patches = build(), random_patches(batch=3)
    visible = visible_patches(batch=3) if is_masked else None
    together = encoder(patches, visible, reach)
    for b in range(3):
        one = None if visible is None else visible[b : b + 1]
        assert_same(encoder(patches[b : b + 1], one, reach), [x[b : b + 1] for x in together])


def moved_by(encoder, index, visible=None, reach=None):
    """Return which patch tokens, and whether the class token, change with one patch."""
    patches = random_patches(batch=1)
    other = patches.clone()
    other[0, index] += 1.0
    before, after = (encoder(x, visible, reach) for x in (patches, other))
    cls_moved = not torch.allclose(before.cls_token, after.cls_token, rtol=0, atol=1e-12)
    return (before.patch_tokens != after.patch_tokens).any(dim=-1)[0], cls_moved


def cells_apart(index):
    """Return the largest distance along any axis, in cells, of every patch from one."""
    cells = [GRID.cell(i) for i in range(GRID.num_patches)]
    return torch.tensor(
        [max(abs(a - b) for a, b in zip(c, GRID.cell(index), strict=True)) for c in cells]
    )


def test_without_reach_every_token_sees_every_patch():
    moved, cls_moved = moved_by(build(), index=0)
    assert moved.all()
    assert cls_moved


@pytest.mark.parametrize(("depth", "reach"), [(1, 1), (2, 1), (1, 2), (3, 1), (2, 0)])
def test_with_reach_a_token_sees_patches_up_to_depth_times_reach_cells_away(depth, reach):
    index = GRID.index((0, 1, 0))
    moved, cls_moved = moved_by(build(depth=depth), index, reach=reach)
    assert torch.equal(moved, cells_apart(index) <= depth * reach)
    assert cls_moved


def test_reach_counts_cells_between_visible_patches_not_places_in_the_list():
    visible = visible_patches(batch=1)
    index = visible[0, 4].item()
    moved, cls_moved = moved_by(build(depth=1), index, visible, reach=1)
    assert torch.equal(moved, (cells_apart(index) <= 1)[visible[0]])
    assert cls_moved


def test_with_reach_no_patch_hears_of_the_class_token():
    encoder, patches = build(), random_patches()
    before = encoder(patches, reach=1)
    with torch.no_grad():
        encoder.cls_token.neg_()
    after = encoder(patches, reach=1)
    assert torch.equal(after.patch_tokens, before.patch_tokens)
    assert not torch.allclose(after.cls_token, before.cls_token)


def test_a_reach_over_the_whole_grid_is_global_for_the_patches_and_hides_only_cls():
    encoder, patches = build(depth=1), random_patches()
    visible = visible_patches()
    local = encoder(patches, visible, reach=4)
    torch.testing.assert_close(local.cls_token, encoder(patches, visible).cls_token)


def test_the_position_table_travels_with_the_module_and_not_with_the_weights():
    encoder = build(position="two_axis")
    assert encoder.position.dtype == torch.float64
    assert "position" not in encoder.state_dict()
    assert torch.equal(encoder.position[0], encoder.position[1])  # neighbours in depth


def test_every_parameter_gets_a_gradient_from_patch_tokens_alone():
    encoder = build()
    encoder(random_patches(), visible_patches()).patch_tokens.square().sum().backward()
    assert [n for n, p in encoder.named_parameters() if p.grad is None] == []


def test_linear_layers_start_with_zero_bias_and_xavier_weights():
    encoder = build()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Linear):
            bound = (6 / (module.in_features + module.out_features)) ** 0.5
            assert not module.bias.any()
            assert 0.7 * bound < module.weight.abs().max() <= bound


def test_an_unknown_position_table_is_refused():
    with pytest.raises(ValueError, match="choose one of"):
        build(position="learned")
