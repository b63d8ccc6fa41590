"""Diagnostics: toy cases with known answers, and that they change nothing."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from simcrop.data.samples import collate
from simcrop.train.diagnostics import diagnose, own_volume_share
from simcrop.train.run import _data, _module, _text_states
from tiny_run import tiny


@pytest.fixture(scope="module")
def world(phantom_store, text_encoder):
    def build(*settings):
        config = tiny(*settings)
        texts = _text_states(
            config, phantom_store, text_encoder, ("cpu", "32-true"), lambda *_: None
        )
        data = _data(config, phantom_store, texts, 0)
        module = _module(config, text_encoder, texts, data, initial=True)
        return module, collate([data.train[0, i] for i in range(4)])

    return build


def test_own_volume_share_is_the_share_of_other_volumes_that_fit_less():
    scores = torch.tensor([[3.0, 1.0, 2.0, 5.0], [1.0, 1.0, 2.0, 0.0], [0.0, 0.0, 9.0, 0.0]])
    own = torch.tensor([0, 1, 2])
    everyone = torch.ones(3, 4, dtype=torch.bool)
    share = own_volume_share(scores, own, everyone)
    torch.testing.assert_close(share, torch.tensor([2 / 3, 0.5, 1.0]))
    only_own = torch.eye(3, 4, dtype=torch.bool)
    assert own_volume_share(scores, own, only_own).isnan().all()
    without_third = everyone.clone()
    without_third[:, 3] = False
    assert own_volume_share(scores, own, without_third)[0] == 1.0


def test_all_figures_are_given_and_nothing_changes(world):
    module, batch = world()
    module.train()
    before = {name: p.clone() for name, p in module.simcrop.named_parameters()}
    state = torch.get_rng_state()
    found = diagnose(module, batch)
    assert set(found) == {
        "own_volume_normal",
        "own_volume_abnormal",
        "air_share",
        "words_true",
        "words_shuffled",
        "words_empty",
        "gradient_patch_loss",
        "gradient_report_loss",
        "gradient_alignment_loss",
    }
    assert all(math.isfinite(value) for value in found.values())
    assert all(0 <= v <= 1 for n, v in found.items() if not n.startswith("gradient"))
    assert all(v > 0 for n, v in found.items() if n.startswith("gradient"))
    assert diagnose(module, batch) == found
    assert module.training
    assert torch.get_rng_state().equal(state)
    for name, parameter in module.simcrop.named_parameters():
        assert parameter.grad is None
        assert parameter.equal(before[name])


def test_body_candidates_select_no_air(world):
    module, batch = world("alignment.candidates=body")
    assert diagnose(module, batch)["air_share"] == 0
    module, batch = world()
    no_body = replace(batch, is_body=torch.zeros_like(batch.is_body))
    assert diagnose(module, no_body)["air_share"] == 1


def test_gradient_norms_are_those_of_a_backward_pass(world):
    module, batch = world("terms.masked_report=false", "terms.alignment=false")
    found = diagnose(module, batch)
    assert set(found) == {"gradient_patch_loss"}
    module.eval()
    from simcrop.train import diagnostics
    from simcrop.train.pretrain import step_generator

    losses = module.losses(batch, step_generator(module.config.seed, diagnostics._STEP))
    losses["patch_loss"].backward()
    squares = [p.grad.square().sum() for p in module.simcrop.vision_encoder.parameters()]
    expected = float(torch.stack(squares).sum().sqrt())
    assert found["gradient_patch_loss"] == pytest.approx(expected, rel=1e-5)


def test_words_named_with_the_volume_beat_those_without_when_only_the_volume_tells(world):
    module, batch = world("terms.fusion=false")
    found = diagnose(module, batch)
    assert "words_shuffled" not in found  # without fusion the volume cannot matter
    assert 0 <= found["words_true"] <= 1


def test_they_are_curves_of_a_run(tiny_run):
    metrics = pd.read_csv(tiny_run.metrics)
    names = set(metrics["name"])
    assert {"val/own_volume_abnormal", "val/words_shuffled", "val/air_share"} <= names
