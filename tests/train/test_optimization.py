import pytest
import torch
from torch import nn

from simcrop.config import OptimizerConfig
from simcrop.train.optimization import annealed_top_k, build_optimizer, warmup_cosine


def test_only_matrices_decay_and_frozen_parts_are_left_out():
    module = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    module[2].requires_grad_(False)
    decayed, plain = build_optimizer(module, OptimizerConfig()).param_groups
    assert decayed["weight_decay"] == 0.05
    assert plain["weight_decay"] == 0
    assert [id(p) for p in decayed["params"]] == [id(module[0].weight)]
    expected = {id(p) for p in (module[0].bias, *module[1].parameters())}
    assert {id(p) for p in plain["params"]} == expected


def test_rate_and_betas_are_those_of_the_configuration():
    optimizer = build_optimizer(nn.Linear(2, 2), OptimizerConfig(lr=0.1, betas=(0.5, 0.6)))
    for group in optimizer.param_groups:
        assert group["lr"] == 0.1
        assert group["betas"] == (0.5, 0.6)


@pytest.mark.parametrize(("warmup", "length"), [(0, 10), (4, 10), (20, 200)])
def test_the_rate_rises_linearly_peaks_once_and_falls_to_zero(warmup, length):
    share = warmup_cosine(warmup, length)
    shares = [share(update) for update in range(length + 1)]
    for update in range(warmup):
        assert shares[update] == pytest.approx((update + 1) / warmup)
    assert shares[warmup] == 1
    assert all(a >= b for a, b in zip(shares[warmup:], shares[warmup + 1 :], strict=False))
    assert shares[(warmup + length) // 2] == pytest.approx(0.5, abs=0.1)
    assert shares[length] == pytest.approx(0, abs=1e-12)
    assert share(length + 50) == pytest.approx(0, abs=1e-12)


def test_k_falls_geometrically_from_start_to_end_and_stays():
    found = [annealed_top_k(120, 3, progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0, 1.7)]
    assert found[0] == 120
    assert found[-2:] == [3, 3]
    for share, k in zip((0.25, 0.5, 0.75), found[1:4], strict=True):
        assert k == pytest.approx(120 * (3 / 120) ** share, abs=1)
    assert found == sorted(found, reverse=True)


def test_the_schedule_drives_the_optimizer():
    module = nn.Linear(1, 1)
    optimizer = build_optimizer(module, OptimizerConfig(lr=1.0))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, warmup_cosine(2, 4))
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        module(torch.ones(1, 1)).sum().backward()
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.5])


def test_the_fused_optimizer_updates_like_the_plain_one():
    found = []
    for fused in (False, True):
        torch.manual_seed(0)
        module, data = nn.Linear(5, 3), torch.randn(4, 5)
        optimizer = build_optimizer(module, OptimizerConfig(lr=0.1, fused=fused))
        for _ in range(3):
            optimizer.zero_grad()
            module(data).square().mean().backward()
            optimizer.step()
        found.append([p.detach() for p in module.parameters()])
    torch.testing.assert_close(found[0], found[1], rtol=1e-6, atol=1e-7)
