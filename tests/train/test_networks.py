"""What a run may do with the vision blocks, without touching what they compute."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from simcrop.model.transformer import PreNormBlock
from simcrop.train.networks import build_simcrop, set_up_blocks
from tiny_run import tiny


def blocks_of(*settings: str):
    config = tiny(*settings)
    torch.manual_seed(0)
    simcrop = build_simcrop(config, text_dim=8, vocabulary_size=20)
    names = [*simcrop.state_dict()]
    set_up_blocks(simcrop, config.trainer)
    assert [*simcrop.state_dict()] == names
    return [part for part in simcrop.modules() if isinstance(part, PreNormBlock)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, on loading its compiler
@pytest.mark.parametrize("is_on", [False, True])
def test_the_options_reach_every_vision_block_and_change_no_name(is_on):
    blocks = blocks_of(
        f"trainer.checkpoint_activations={is_on}", f"trainer.compile={is_on}".lower()
    )
    assert len(blocks) == 4
    for block in blocks:
        assert block.keeps_activations is not is_on
        assert (block._compiled_call_impl is not None) is is_on


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_block_gives_the_same_values_and_gradients():
    """In a process of its own: the tests' shape checks cannot be compiled."""
    done = subprocess.run(
        [sys.executable, "-c", COMPARE_COMPILED], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parent, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


COMPARE_COMPILED = """
import torch
from test_networks import blocks_of

tokens = torch.randn(2, 7, 64, generator=torch.Generator().manual_seed(1))
found = []
for block in (blocks_of()[0], blocks_of("trainer.compile=true")[0]):
    out = block(tokens)
    found.append((out, *torch.autograd.grad(out.square().mean(), block.parameters())))
for one, other in zip(*found, strict=True):
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
"""
