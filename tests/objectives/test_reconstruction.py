"""The masked-volume loss."""

import pytest
import torch

from reference import masked_modelling as reference
from simcrop.objectives.reconstruction import normalise_patches, patch_loss


def random_patches(seed=0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    shape = (2, 3, 8)
    predicted = torch.randn(shape, generator=draw, dtype=dtype)
    target = torch.rand(shape, generator=draw, dtype=dtype) * 2 - 1
    is_counted = torch.rand(shape, generator=draw) < 0.7
    return predicted, target, is_counted


def rows(patches):
    return patches.flatten(0, 1).tolist()


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("with_padding", [False, True])
def test_the_loss_agrees_with_the_reference(normalise, with_padding):
    predicted, target, is_counted = random_patches()
    is_counted = is_counted if with_padding else None
    loss = patch_loss(predicted, target, normalise=normalise, is_counted=is_counted)
    expected = reference.patch_loss(
        rows(predicted),
        rows(target),
        is_normalised=normalise,
        is_counted=None if is_counted is None else rows(is_counted),
    )
    assert loss.item() == pytest.approx(expected, abs=1e-12)


def test_the_gradient_is_twice_the_error_over_the_number_of_voxels():
    predicted, target, is_counted = random_patches()
    predicted.requires_grad_()
    patch_loss(predicted, target, is_counted=is_counted).backward()
    expected = 2 * (predicted.detach() - target) * is_counted / is_counted.sum()
    torch.testing.assert_close(predicted.grad, expected)


def test_voxels_that_do_not_count_change_nothing():
    predicted, target, is_counted = random_patches()
    other = torch.where(is_counted, predicted, torch.full_like(predicted, 1e3))
    expected = patch_loss(predicted, target, is_counted=is_counted)
    torch.testing.assert_close(patch_loss(other, target, is_counted=is_counted), expected)


def test_counting_every_voxel_is_the_plain_loss():
    predicted, target, is_counted = random_patches()
    everything = torch.ones_like(is_counted)
    loss = patch_loss(predicted, target, is_counted=everything)
    torch.testing.assert_close(loss, patch_loss(predicted, target))


def test_when_no_voxel_counts_the_loss_is_zero():
    predicted, target, is_counted = random_patches()
    predicted.requires_grad_()
    loss = patch_loss(predicted, target, is_counted=torch.zeros_like(is_counted))
    loss.backward()
    assert loss == 0
    assert not predicted.grad.any()


def test_the_true_voxels_have_no_loss():
    _, target, _ = random_patches()
    assert patch_loss(target, target) == 0
    assert patch_loss(normalise_patches(target), target, normalise=True) == 0


def test_normalised_patches_have_mean_zero_and_variance_one():
    _, target, _ = random_patches()
    normalised = normalise_patches(target)
    torch.testing.assert_close(normalised.mean(dim=-1), torch.zeros(2, 3).double())
    torch.testing.assert_close(normalised.var(dim=-1), torch.ones(2, 3).double(), rtol=0, atol=1e-4)


def test_each_patch_is_normalised_by_itself():
    _, target, _ = random_patches()
    scaled = target.clone()
    scaled[0, 1] *= 100
    changed = (normalise_patches(scaled) != normalise_patches(target)).any(dim=-1)
    assert changed.nonzero().tolist() == [[0, 1]]


def test_constant_patches_of_air_stay_finite():
    predicted, target, _ = random_patches(dtype=torch.float32)
    target = torch.full_like(target, -1.0)
    predicted.requires_grad_()
    loss = patch_loss(predicted, target, normalise=True)
    loss.backward()
    assert not normalise_patches(target).any()
    torch.testing.assert_close(loss, predicted.square().mean())
    assert predicted.grad.isfinite().all()


def test_the_lineage_s_loss_is_ours_times_the_mask_ratio():
    """method.md, section 4: upstream averages the masked error over all voxels."""
    draw = torch.Generator().manual_seed(0)
    predicted, target = torch.randn(2, 2, 8, 4, generator=draw).unbind(0)
    masked = torch.tensor([1, 2, 3, 5, 6, 7])
    is_masked = torch.zeros(8).index_fill(0, masked, 1.0)[None, :, None]
    upstream = (predicted * is_masked - target * is_masked).square().mean()
    ours = patch_loss(predicted[:, masked], target[:, masked])
    torch.testing.assert_close(upstream, 0.75 * ours)
