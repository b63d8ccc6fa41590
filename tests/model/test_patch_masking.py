"""Random masking of patches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from simcrop.model.patch_masking import gather, mask_patches


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(1, 4), st.integers(2, 60), st.floats(0, 1), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_visible_and_masked_indices_partition_the_patches(batch, num_patches, ratio, seed):
    try:
        masking = mask_patches(batch, num_patches, ratio, generator(seed))
    except ValueError:
        return
    everything = torch.cat([masking.visible, masking.masked], dim=1).sort(dim=1).values
    assert torch.equal(everything, torch.arange(num_patches).expand(batch, -1))


@pytest.mark.parametrize(
    ("num_patches", "ratio", "num_visible"),
    [
        (2744, 0.75, 686),
        (8, 0.75, 2),
        (27, 0.75, 6),
        (10, 0.9, 1),
        (1000, 0.9, 100),
        (100, 0.07, 93),
    ],
)
def test_the_number_of_visible_patches_is_exact(num_patches, ratio, num_visible):
    masking = mask_patches(2, num_patches, ratio, generator())
    assert masking.visible.shape == (2, num_visible)
    assert masking.masked.shape == (2, num_patches - num_visible)


def test_is_masked_is_true_exactly_on_the_masked_patches():
    masking = mask_patches(3, 20, 0.75, generator())
    for b in range(3):
        assert masking.is_masked[b].nonzero().flatten().tolist() == sorted(masking.masked[b])
    assert masking.is_masked.dtype == torch.bool


def test_every_patch_is_as_likely_to_be_visible_as_any_other():
    """4,000 draws of 6 of 24: binomial with mean 1,000 and standard deviation 27."""
    masking = mask_patches(4000, 24, 0.75, generator())
    times_visible = (~masking.is_masked).sum(dim=0)
    assert (times_visible - 1000).abs().max() < 5 * 27


def test_pairs_of_patches_are_independent_up_to_the_fixed_count():
    """Two given patches are both visible in 6/24 x 5/23 of the draws: 217 of 4,000."""
    is_visible = (~mask_patches(4000, 24, 0.75, generator()).is_masked).double()
    together = (is_visible.T @ is_visible).fill_diagonal_(4000 * 6 / 24 * 5 / 23)
    assert (together - 217.4).abs().max() < 5 * 14.4


def test_volumes_of_a_batch_are_masked_independently():
    masking = mask_patches(8, 64, 0.75, generator())
    assert len(masking.is_masked.unique(dim=0)) == 8


def test_the_generator_decides_and_the_global_one_is_left_alone():
    state = torch.get_rng_state()
    draws = [mask_patches(2, 64, 0.75, generator(seed)) for seed in (1, 1, 2)]
    assert torch.equal(draws[0].visible, draws[1].visible)
    assert not torch.equal(draws[0].visible, draws[2].visible)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("ratio", [0.0, 1.0, 0.95, -0.5, 1.5])
def test_ratios_that_leave_nothing_on_one_side_are_refused(ratio):
    with pytest.raises(ValueError, match="at least one visible and one hidden"):
        mask_patches(2, 8, ratio, generator())


def test_gather_returns_the_chosen_rows_of_each_volume():
    rows = torch.rand(3, 10, 4)
    index = torch.tensor([[1, 9], [0, 0], [5, 2]])
    chosen = gather(rows, index)
    for b in range(3):
        assert torch.equal(chosen[b], rows[b, index[b]])
