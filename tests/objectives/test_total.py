"""The weighted sum of the terms."""

import pytest
import torch

from simcrop.objectives.total import total_loss

TERMS = {"patch_loss": torch.tensor(0.5), "report_loss": torch.tensor(4.0)}


def test_the_total_is_the_weighted_sum():
    total = total_loss(TERMS, {"patch_loss": 2.0, "report_loss": 0.25, "alignment_loss": 9.0})
    assert total.item() == 2.0


def test_each_term_receives_its_weight_as_gradient():
    terms = {name: loss.clone().requires_grad_() for name, loss in TERMS.items()}
    total_loss(terms, {"patch_loss": 3.0, "report_loss": 0.5}).backward()
    assert {name: loss.grad.item() for name, loss in terms.items()} == {
        "patch_loss": 3.0,
        "report_loss": 0.5,
    }


def test_no_term_and_terms_without_weight_are_refused():
    with pytest.raises(ValueError, match="no term is on"):
        total_loss({}, {})
    with pytest.raises(ValueError, match="no weight for \\['report_loss'\\]"):
        total_loss(TERMS, {"patch_loss": 1.0})
