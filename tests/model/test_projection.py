"""Heads into the shared space and the mean over the words of a sentence."""

import pytest
import torch
from torch import nn

from reference import networks as reference
from simcrop.model.projection import (
    ProjectionHead,
    StandardisedHead,
    has_words,
    pool_sentences,
)

SENTENCE_OF_WORD = torch.tensor([[0, 1, 1, 2, 0, 2, 2, 0], [0, 3, 1, 1, 1, 0, 0, 0]])


def words(seed=0):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(2, 8, 5, generator=draw, dtype=torch.float64)


def test_sentences_agree_with_the_reference():
    states = words()
    pooled = pool_sentences(states, SENTENCE_OF_WORD, 4)
    for b in range(2):
        expected = reference.pool_sentences(states[b], SENTENCE_OF_WORD[b].tolist(), 4)
        torch.testing.assert_close(pooled[b], expected, rtol=0, atol=1e-12)


def test_words_without_a_sentence_get_no_gradient_and_the_others_their_share():
    states = words().requires_grad_()
    pool_sentences(states, SENTENCE_OF_WORD, 3).sum().backward()
    share = torch.tensor([[0, 2, 2, 3, 0, 3, 3, 0], [0, 1, 3, 3, 3, 0, 0, 0]]).double()
    expected = torch.where(share > 0, 1 / share.clamp(min=1), torch.zeros_like(share))
    torch.testing.assert_close(states.grad, expected[:, :, None].expand(-1, -1, 5))


def test_further_padding_of_words_or_sentences_changes_nothing():
    states = words()
    padded = torch.nn.functional.pad(states, (0, 0, 0, 3), value=9.0)
    numbers = torch.nn.functional.pad(SENTENCE_OF_WORD, (0, 3))
    pooled = pool_sentences(padded, numbers, 6)
    torch.testing.assert_close(pooled[:, :3], pool_sentences(states, SENTENCE_OF_WORD, 3))
    assert not pooled[:, 3:].any()


def test_a_batch_without_sentences_has_no_rows():
    assert pool_sentences(words(), torch.zeros_like(SENTENCE_OF_WORD), 0).shape == (2, 0, 5)


def test_the_head_is_linear_gelu_norm_linear():
    torch.manual_seed(0)
    head = ProjectionHead(5, 7).double()
    first, _, norm, last = head
    for word in words()[0]:
        expected = reference.linear(
            last, reference.layer_norm(norm, reference.gelu(reference.linear(first, word)))
        )
        torch.testing.assert_close(head(word), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("scale", [0.5, 100.0])
def test_a_head_that_normalises_its_input_ignores_scale_and_offset(scale):
    torch.manual_seed(0)
    head = ProjectionHead(5, 7, first=nn.LayerNorm(5, elementwise_affine=False)).double()
    states = words() * 10
    torch.testing.assert_close(head(states * scale + 3.0), head(states), rtol=1e-4, atol=1e-3)
    assert len(list(head.parameters())) == len(list(ProjectionHead(5, 7).parameters()))


def test_a_standardised_head_reads_deviations_and_starts_without_a_place():
    draw = torch.Generator().manual_seed(0)
    position, tokens = torch.randn(6, 5, generator=draw), torch.randn(3, 6, 5, generator=draw)
    head = StandardisedHead(position, 7)
    head.standardise.see(head.standardise.moments(tokens))
    usual = tokens.mean(dim=0, keepdim=True)
    torch.testing.assert_close(head(usual), head.projection.bias.expand(1, 6, 7))
    nn.init.normal_(head.place.weight)
    places = torch.tensor([[4, 0], [1, 2], [5, 3]])
    some = tokens.gather(1, places[..., None].expand(-1, -1, 5))
    expected = head(tokens).gather(1, places[..., None].expand(-1, -1, 7))
    torch.testing.assert_close(head(some, places), expected)
    said = head(usual) - head.projection.bias
    torch.testing.assert_close(said[0], position @ head.place.weight.T)


def test_a_sentence_has_words_where_one_is_numbered_so():
    numbers = torch.tensor([[0, 1, 1, 3], [0, 0, 0, 0]])
    assert has_words(numbers, 3).tolist() == [[True, False, True], [False] * 3]
