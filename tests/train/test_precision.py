"""Precision: as set, or by what is measured."""

import logging

import pytest
import torch

from simcrop.train import precision
from simcrop.train.precision import bf16_gain, with_precision
from tiny_run import tiny

CPU = "trainer.device=cpu"


@pytest.mark.parametrize(("gain", "chosen"), [(0.6, "32"), (1.1, "32"), (1.6, "bf16")])
def test_auto_takes_bf16_on_a_cpu_that_clearly_gains_and_says_so(gain, chosen, monkeypatch, caplog):
    monkeypatch.setattr(precision, "bf16_gain", lambda config: gain)
    with caplog.at_level(logging.INFO, "simcrop"):
        found = with_precision(tiny(CPU, "trainer.precision=auto"))
    assert found == tiny(CPU, f"trainer.precision={chosen}")
    assert f"precision {chosen}: bf16 takes 1/{gain:.2f} of the time" in caplog.text


def test_several_processes_on_cpus_do_not_measure(monkeypatch):
    monkeypatch.delattr(precision, "bf16_gain")
    found = with_precision(tiny(CPU, "trainer.precision=auto", "trainer.devices=2"))
    assert found.trainer.precision == "32"


@pytest.mark.parametrize("chosen", ["32", "bf16"])
def test_a_set_precision_is_not_measured(chosen, monkeypatch):
    monkeypatch.delattr(precision, "bf16_gain")
    config = tiny(CPU, f"trainer.precision={chosen}")
    assert with_precision(config) == config


def test_measuring_the_gain_leaves_the_random_state_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    assert bf16_gain(tiny()) > 0
    assert torch.equal(torch.get_rng_state(), state)
