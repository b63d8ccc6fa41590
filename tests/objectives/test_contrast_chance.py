"""What the contrast means: chance levels, limits, and what it takes to solve each kind."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference.inputs import PAPER, cast, distinct_inputs
from simcrop.objectives.contrast import NEGATIVES, info_nce


@pytest.mark.parametrize(("name", "chance"), [("within_report", 4), ("batch", 12)])
def test_when_all_pairs_coincide_the_loss_is_the_logarithm_of_their_number(name, chance):
    """Both directions are summed, so the logarithm counts twice."""
    inputs = distinct_inputs(batch=3, sentences=4)
    same = replace(
        inputs,
        patches=torch.ones_like(inputs.patches),
        sentences=torch.ones_like(inputs.sentences),
    )
    loss = NEGATIVES[name](same, **PAPER)
    assert loss.item() == pytest.approx(2 * math.log(chance))


def test_when_all_pairs_coincide_per_image_is_at_its_chance_level():
    """A sentence has 3 volumes to choose from; a volume its own and 2 x 4 other sentences."""
    inputs = distinct_inputs(batch=3, sentences=4)
    same = replace(
        inputs,
        patches=torch.ones_like(inputs.patches),
        sentences=torch.ones_like(inputs.sentences),
    )
    loss = NEGATIVES["per_image"](same, **PAPER)
    assert loss.item() == pytest.approx(math.log(3) + math.log(1 + 2 * 4))


@pytest.mark.parametrize("name", ["within_report", "batch"])
def test_orthonormal_pairs_lose_their_loss_as_the_temperature_falls(name):
    basis = torch.eye(12, dtype=torch.float64).reshape(3, 4, 12)
    inputs = replace(distinct_inputs(3, 4, patches=4), sentences=basis, patches=basis)
    losses = [
        NEGATIVES[name](inputs, top_k=1, temperature=t, reduction="report").item()
        for t in (1.0, 0.3, 0.1, 0.01)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-12
    pool = 4 if name == "within_report" else 12
    assert losses[0] == pytest.approx(2 * math.log(1 + (pool - 1) / math.e))


def test_info_nce_of_both_directions_is_symmetric():
    """Swapping sentences and regions leaves the sum of both directions as it is."""
    logits = torch.randn(1, 5, 5, generator=torch.Generator().manual_seed(0))
    is_positive = torch.eye(5, dtype=torch.bool)[None]
    there = info_nce(logits, is_positive, ~is_positive)
    back = info_nce(logits.mT, is_positive, ~is_positive)
    labels = torch.arange(5)
    expected = torch.nn.functional.cross_entropy(logits[0], labels, reduction="none")
    torch.testing.assert_close(there[0], expected)
    expected = torch.nn.functional.cross_entropy(logits[0].T, labels, reduction="none")
    torch.testing.assert_close(back[0], expected)


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_info_nce_is_positive_and_ignores_a_shift_of_the_logits(seed):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 6, generator=draw, dtype=torch.float64)
    kinds = torch.randint(3, (2, 4, 6), generator=draw)
    loss = info_nce(logits, kinds == 0, kinds == 1)
    assert (loss >= 0).all()
    torch.testing.assert_close(info_nce(logits + 7.0, kinds == 0, kinds == 1), loss)


def image_blind_loss(name, steps=60):
    """Train one codebook of patches that is the same in every volume; return the final loss."""
    inputs = distinct_inputs(batch=4, sentences=3, patches=16, shared=8)
    codebook = torch.randn(1, 16, 8, generator=torch.Generator().manual_seed(3)).double()
    codebook.requires_grad_()
    optimiser = torch.optim.Adam([codebook], lr=0.1)
    for _ in range(steps):
        blind = replace(inputs, patches=codebook.expand(4, -1, -1))
        loss = NEGATIVES[name](blind, **PAPER)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss.item()


@pytest.mark.parametrize(("name", "reached"), [("within_report", 0.01), ("batch", 0.1)])
def test_a_codebook_of_positions_solves_the_task_without_the_image(name, reached):
    """method.md, section 6: these losses can fall to zero with equal patches in every volume."""
    assert image_blind_loss(name) < reached


@pytest.mark.parametrize(("top_k", "loss"), [(1, 1.68), (8, 0.45), (32, 0.08), (686, 3.06)])
def test_selection_alone_makes_the_loss_small(top_k, loss):
    """method.md, section 6: random patches, 20 sentences, chance ln 20 = 3.00 per direction."""
    inputs = distinct_inputs(batch=4, sentences=20, patches=686, shared=768)
    options = {"top_k": top_k, "temperature": 0.07, "reduction": "report"}
    found = NEGATIVES["within_report"](cast(inputs, torch.float32), **options)
    assert found.item() / 2 == pytest.approx(loss, rel=0.1)


def test_a_codebook_of_positions_leaves_per_image_at_chance():
    """Only `per_image` forces the model to look: 4 volumes, 1 + 3 x 3 sentences per volume."""
    chance = math.log(4) + math.log(1 + 3 * 3)
    assert image_blind_loss("per_image") > chance - 1e-6
