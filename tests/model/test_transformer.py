"""The two kinds of transformer layer."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from reference import networks as reference
from simcrop.model.transformer import Attention, PostNormAttention, PostNormMLP, PreNormBlock
from simcrop.train.footprint import LiveStorages

DIM, HEADS = 12, 3


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


def tokens(*shape):
    return torch.randn(*shape, DIM, dtype=torch.float64)


def test_attention_agrees_with_the_reference():
    attention = Attention(DIM, HEADS).double()
    queries, context = tokens(1, 4), tokens(1, 5)
    may_attend = torch.rand(1, 1, 4, 5) < 0.6
    may_attend[..., 0] = True
    found = attention(queries, context, may_attend)
    for n in range(4):
        seen = [c for c, allowed in zip(context[0], may_attend[0, 0, n], strict=True) if allowed]
        expected = reference.attend(attention, queries[0, n], seen)
        torch.testing.assert_close(found[0, n], expected, rtol=0, atol=1e-12)


def test_post_norm_layers_agree_with_the_reference():
    attention = PostNormAttention(DIM, HEADS).double().eval()
    mlp = PostNormMLP(DIM, 24).double().eval()
    words, is_valid = tokens(1, 5), torch.tensor([[True, True, False, True, False]])
    attended = attention(words, is_valid=is_valid)
    expected = reference.self_attention(attention, list(words[0]), is_valid[0].tolist())
    torch.testing.assert_close(attended[0], torch.stack(expected), rtol=0, atol=1e-12)
    found = mlp(attended)[0]
    expected = torch.stack([reference.post_norm_mlp(mlp, w) for w in attended[0]])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_a_block_moves_with_the_order_of_its_tokens():
    block, x = PreNormBlock(DIM, HEADS, 4.0).double(), tokens(2, 6)
    order = torch.randperm(6)
    torch.testing.assert_close(block(x[:, order]), block(x)[:, order])


@pytest.mark.parametrize("is_local", [False, True])
def test_asking_for_the_last_tokens_alone_gives_the_same(is_local):
    block, x = PreNormBlock(DIM, HEADS, 4.0).double(), tokens(2, 6)
    may_attend = torch.rand(2, 1, 6, 6) < 0.5
    may_attend |= torch.eye(6, dtype=torch.bool)
    may_attend = may_attend if is_local else None
    torch.testing.assert_close(block(x, may_attend, first_query=4), block(x, may_attend)[:, 4:])


def test_padded_words_change_nothing_for_the_others():
    attention = PostNormAttention(DIM, HEADS).double()
    words, is_valid = tokens(2, 5), torch.tensor([[True] * 3 + [False] * 2, [True] * 5])
    other = words.clone()
    other[0, 3:] = 1e3
    before, after = attention(words, is_valid=is_valid), attention(other, is_valid=is_valid)
    torch.testing.assert_close(after[is_valid], before[is_valid])


def test_a_report_of_padding_alone_stays_finite():
    attention = PostNormAttention(DIM, HEADS)
    words = torch.randn(1, 4, DIM, requires_grad=True)
    found = attention(words, is_valid=torch.zeros(1, 4, dtype=torch.bool))
    found.sum().backward()
    assert found.isfinite().all()
    assert all(p.grad.isfinite().all() for p in attention.parameters())


def test_widths_that_heads_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="cannot be split into 5 heads"):
        Attention(DIM, 5)


@pytest.mark.parametrize("first_query", [0, 2])
def test_a_block_that_keeps_no_activations_gives_the_same_values_and_gradients(first_query):
    block, words = PreNormBlock(DIM, HEADS, 4.0).double(), tokens(2, 5).requires_grad_()
    may_attend = torch.rand(2, 1, 5, 5) < 0.7
    may_attend[..., 0] = True
    found = []
    for block.keeps_activations in (True, False):
        out = block(words, may_attend, first_query)
        gradients = torch.autograd.grad(out.square().sum(), [words, *block.parameters()])
        found.append((out, *gradients))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_a_block_keeps_no_norm_and_no_gelu_for_the_backward_pass():
    size, dim = 500, 64
    with FakeTensorMode(), LiveStorages(1.0) as live:
        block, x = PreNormBlock(dim, 4, 4.0), torch.rand(1, size, dim).requires_grad_()
        before = live.now
        out = block(x)
        kept = (live.now - before) / (4 * size * dim)
    # Query, key and value, attended, their sum with the input, hidden units of the MLP; the output.
    assert out.shape == x.shape
    assert kept == pytest.approx(1 + 2 + 1 + 1 + 4 + 1, rel=0.02)


def test_tokens_apart_are_those_of_a_mask_that_lets_only_the_first_look_around():
    torch.manual_seed(0)
    block, tokens = PreNormBlock(12, 3, 2.0).double(), torch.rand(2, 7, 12).double()
    may_attend = torch.eye(7, dtype=torch.bool)
    may_attend[0] = True
    masked = block(tokens, may_attend[None, None])
    torch.testing.assert_close(block.apart(tokens), masked, rtol=0, atol=1e-12)
