"""The masked-report loss."""

import math

import pytest
import torch

from reference import masked_modelling as reference
from simcrop.objectives.report_modelling import counted_words, report_loss

IS_VALID = torch.tensor([[True, True, True, False], [True, True, False, False]])
IS_MASKED = torch.tensor([[False, True, True, True], [True, False, False, True]])


def test_by_default_only_hidden_words_count():
    counted = counted_words(IS_MASKED, IS_VALID)
    assert counted.tolist() == [[False, True, True, False], [True, False, False, False]]


def test_all_real_words_may_count_but_never_padding():
    assert torch.equal(counted_words(IS_MASKED, IS_VALID, "all"), IS_VALID)


def test_an_unknown_choice_of_words_is_refused():
    with pytest.raises(ValueError, match="'masked' or 'all'"):
        counted_words(IS_MASKED, IS_VALID, "padding")


def test_the_loss_agrees_with_the_reference_and_its_gradient_with_softmax():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 11, generator=draw, requires_grad=True)
    words = torch.randint(11, (6,), generator=draw)
    loss = report_loss(logits, words)
    loss.backward()
    expected = reference.report_loss(logits.tolist(), words.tolist())
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    share = logits.detach().softmax(dim=-1) - torch.nn.functional.one_hot(words, 11)
    torch.testing.assert_close(logits.grad, share / 6)


def test_equal_logits_lose_the_logarithm_of_the_vocabulary():
    loss = report_loss(torch.zeros(4, 30522), torch.tensor([0, 5, 7, 30521]))
    assert loss.item() == pytest.approx(math.log(30522), abs=1e-5)


def test_without_counted_words_the_loss_and_its_gradient_are_zero():
    logits = torch.zeros(0, 11, requires_grad=True)
    loss = report_loss(logits, torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss == 0
    assert logits.grad.shape == (0, 11)


def test_bfloat16_logits_are_computed_in_float32():
    logits = torch.randn(3, 11, dtype=torch.bfloat16)
    words = torch.tensor([1, 2, 3])
    loss = report_loss(logits, words)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, report_loss(logits.float(), words))
