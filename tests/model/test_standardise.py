"""What is usual, and what is left when it is taken away."""

import pytest
import torch

from simcrop.model.standardise import RATE, Standardise

B, PLACES, DIM = 6, 4, 3


def tokens(seed: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    spread = torch.tensor([0.5, 1.0, 2.0, 3.0])[:, None]
    return torch.randn(B, PLACES, DIM, generator=draw).double() * spread + 5 * spread


def standardise(places: int = PLACES) -> Standardise:
    return Standardise(places, DIM).double()


def test_after_one_batch_its_own_vectors_have_mean_zero_and_deviation_one_at_every_place():
    module, batch = standardise(), tokens(0)
    module.see(module.moments(batch))
    found = module(batch)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(PLACES, DIM).double())
    expected = torch.ones(PLACES, DIM).double()
    torch.testing.assert_close(found.std(dim=0, correction=0), expected, rtol=1e-3, atol=0)


def test_before_the_first_batch_vectors_stay_as_they_are():
    batch = tokens(0)
    torch.testing.assert_close(standardise()(batch), batch, rtol=1e-4, atol=0)


def test_a_study_does_not_depend_on_its_batch_and_the_averages_give_no_gradient():
    module, batch = standardise(), tokens(0).requires_grad_()
    module.see(module.moments(tokens(1)))
    torch.testing.assert_close(module(batch)[2:3], module(batch[2:3]))
    (gradient,) = torch.autograd.grad(module(batch)[0].sum(), batch)
    assert not gradient[1:].any()


def test_the_first_batches_are_averaged_and_later_ones_fade():
    module = standardise()
    batches = [tokens(seed) for seed in range(5)]
    for batch in batches:
        module.see(module.moments(batch))
    torch.testing.assert_close(module.mean, torch.cat(batches).mean(dim=0))
    torch.testing.assert_close(module.square, torch.cat(batches).square().mean(dim=0))
    module.num_batches.fill_(1000)
    before = module.mean.clone()
    module.see(module.moments(tokens(9)))
    expected = (1 - RATE) * before + RATE * tokens(9).mean(dim=0)
    torch.testing.assert_close(module.mean, expected)


@pytest.mark.parametrize("num_parts", [2, 3, 6])
def test_moments_of_parts_add_up(num_parts):
    module, batch = standardise(), tokens(0)
    parts = torch.stack([module.moments(part) for part in batch.chunk(num_parts)])
    torch.testing.assert_close(parts.sum(dim=0), module.moments(batch))


def test_vectors_go_to_their_places_and_a_place_without_any_stays():
    module, batch = standardise(), tokens(0)
    module.see(module.moments(batch))
    before = module.mean.clone()
    places = torch.tensor([[2, 0]] * B)
    some = tokens(1)[:, [2, 0]]
    module.see(module.moments(some, places))
    torch.testing.assert_close(module.mean[[1, 3]], before[[1, 3]], rtol=0, atol=0)
    torch.testing.assert_close(module.mean[2], (before[2] + tokens(1)[:, 2].mean(dim=0)) / 2)
    assert module.num_batches.flatten().tolist() == [2, 1, 2, 1]
    torch.testing.assert_close(module(some, places), module(tokens(1))[:, [2, 0]])


def test_what_is_not_counted_leaves_no_trace():
    module, batch = standardise(1), tokens(0)
    is_counted = torch.rand(B, PLACES, generator=torch.Generator().manual_seed(1)) < 0.5
    module.see(module.moments(batch, is_counted=is_counted))
    torch.testing.assert_close(module.mean[0], batch[is_counted].mean(dim=0))


def test_averages_of_half_precision_are_taken_in_float32():
    module = Standardise(PLACES, DIM)
    moments = module.moments(tokens(0).bfloat16())
    assert moments.dtype == torch.float32
