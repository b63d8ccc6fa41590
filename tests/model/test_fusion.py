"""The fusion layer and its two granularities."""

import pytest
import torch

from reference import networks as reference
from simcrop.model.dropout import Dropout
from simcrop.model.fusion import FusionLayer

SWITCHES = [(True, True), (True, False), (False, True)]


def build(word_patch=True, instance_level=True):
    torch.manual_seed(0)
    layer = FusionLayer(
        10,
        dim=12,
        heads=3,
        mlp_dim=16,
        word_patch=word_patch,
        instance_level=instance_level,
    )
    return layer.double()


def inputs():
    torch.manual_seed(1)
    words = torch.randn(2, 5, 12, dtype=torch.float64)
    is_valid = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    return words, is_valid, torch.randn(2, 6, 10, dtype=torch.float64)


@pytest.mark.parametrize("switches", SWITCHES)
def test_the_layer_agrees_with_the_reference_in_values_and_gradients(switches):
    layer = build(*switches)
    words, is_valid, patches = inputs()
    patches.requires_grad_()
    found = layer(words, is_valid, patches)[is_valid]
    expected = torch.cat(
        [
            reference.fuse(layer, words[b], is_valid[b].tolist(), patches[b])[is_valid[b]]
            for b in range(2)
        ]
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    everything = [patches, *layer.parameters()]
    upstream = torch.randn_like(found)
    of_found = torch.autograd.grad((found * upstream).sum(), everything)
    of_expected = torch.autograd.grad((expected * upstream).sum(), everything)
    for one, other in zip(of_found, of_expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("switches", SWITCHES)
def test_the_order_of_the_patches_does_not_matter(switches):
    layer, (words, is_valid, patches) = build(*switches), inputs()
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    torch.testing.assert_close(
        layer(words, is_valid, patches[:, order]), layer(words, is_valid, patches)
    )


@pytest.mark.parametrize("switches", SWITCHES)
def test_padded_words_change_nothing_for_the_others(switches):
    layer, (words, is_valid, patches) = build(*switches), inputs()
    other = words.masked_fill(~is_valid[:, :, None], 50.0)
    before, after = layer(words, is_valid, patches), layer(other, is_valid, patches)
    torch.testing.assert_close(after[is_valid], before[is_valid])


def same_mean_other_patches(patches):
    """Move content between patches so that their mean over the volume stays."""
    moved = patches.clone()
    moved[:, 0] += 2.0
    moved[:, 1] -= 2.0
    return moved


@pytest.mark.parametrize("switches", SWITCHES)
def test_only_the_word_patch_level_sees_more_than_the_mean_of_the_patches(switches):
    word_patch, _ = switches
    layer, (words, is_valid, patches) = build(*switches), inputs()
    before = layer(words, is_valid, patches)
    after = layer(words, is_valid, same_mean_other_patches(patches))
    assert torch.allclose(after, before) == (not word_patch)


def test_the_instance_level_changes_with_the_mean():
    layer, (words, is_valid, patches) = build(word_patch=False), inputs()
    shifted = layer(words, is_valid, patches + 1.0)
    assert not torch.allclose(shifted, layer(words, is_valid, patches))


def test_the_instance_level_says_the_same_to_every_word_before_the_residual():
    """The volume enters as one vector: equal words stay equal."""
    layer, (words, is_valid, patches) = build(word_patch=False), inputs()
    equal = words[:, :1].expand_as(words)
    fused = layer(equal, is_valid, patches)
    torch.testing.assert_close(fused, fused[:, :1].expand_as(fused))


@pytest.mark.parametrize("switches", SWITCHES)
def test_every_parameter_gets_a_gradient(switches):
    layer, (words, is_valid, patches) = build(*switches), inputs()
    dropout = Dropout(torch.arange(2), 0.1)
    layer(words, is_valid, patches, dropout)[is_valid].square().sum().backward()
    assert [n for n, p in layer.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_layer_without_any_granularity_is_refused():
    with pytest.raises(ValueError, match="expected at least one"):
        build(word_patch=False, instance_level=False)
