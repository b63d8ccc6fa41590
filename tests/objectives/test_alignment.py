"""Similarity, selection and pooling of patches by sentences."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import alignment as reference
from simcrop.objectives.alignment import (
    pool_patches,
    region_logits,
    select_top_k,
    similarity_map,
)

seeds = st.integers(0, 2**31)


def random_pair(seed=0, batch=2, patches=9, sentences=4, shared=5, dtype=torch.float64):
    draw = torch.Generator().manual_seed(seed)
    v = torch.randn(batch, patches, shared, generator=draw, dtype=dtype)
    t = torch.randn(batch, sentences, shared, generator=draw, dtype=dtype)
    return v, t


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_similarities_agree_with_the_reference_and_lie_in_minus_one_to_one(seed):
    patches, sentences = random_pair(seed)
    similarity = similarity_map(patches, sentences)
    assert similarity.abs().max() <= 1 + 1e-12
    for b in range(2):
        expected = reference.similarity_map(patches[b], sentences[b])
        torch.testing.assert_close(similarity[b], expected, rtol=0, atol=1e-12)


def test_equal_and_opposite_vectors_have_similarity_one_and_minus_one():
    patches, _ = random_pair(batch=1)
    similarity = similarity_map(patches, torch.cat([patches, -patches], dim=1))
    diagonal = torch.ones(9, dtype=torch.float64)
    torch.testing.assert_close(similarity[0, :9].diagonal(), diagonal)
    torch.testing.assert_close(similarity[0, 9:].diagonal(), -diagonal)


@given(seeds, st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
@settings(max_examples=20, deadline=None)
def test_similarities_ignore_the_scale_of_either_side(seed, patch_scale, sentence_scale):
    patches, sentences = random_pair(seed)
    scaled = similarity_map(patches * patch_scale, sentences * sentence_scale)
    torch.testing.assert_close(scaled, similarity_map(patches, sentences))


@given(seeds, st.permutations(range(9)), st.permutations(range(4)))
@settings(max_examples=20, deadline=None)
def test_all_steps_permute_with_patches_and_with_sentences(seed, patch_order, sentence_order):
    patches, sentences = random_pair(seed)
    similarity = similarity_map(patches, sentences)
    permuted = similarity_map(patches[:, patch_order], sentences[:, sentence_order])
    torch.testing.assert_close(permuted, similarity[:, sentence_order][:, :, patch_order])
    selected = select_top_k(similarity, 3)
    moved = select_top_k(permuted, 3)
    assert torch.equal(moved, selected[:, sentence_order][:, :, patch_order])
    regions = pool_patches(patches, selected)
    torch.testing.assert_close(
        pool_patches(patches[:, patch_order], moved), regions[:, sentence_order]
    )


@given(seeds, st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_selection_and_pooling_agree_with_the_reference(seed, top_k):
    patches, sentences = random_pair(seed)
    is_candidate = torch.rand(2, 9, generator=torch.Generator().manual_seed(seed)) < 0.6
    similarity = similarity_map(patches, sentences)
    selected = select_top_k(similarity, top_k, is_candidate)
    regions = pool_patches(patches, selected)
    for b in range(2):
        for j in range(4):
            chosen = reference.select_top_k(
                similarity[b, j].tolist(), top_k, is_candidate[b].tolist()
            )
            assert selected[b, j].nonzero().flatten().tolist() == sorted(chosen)
            torch.testing.assert_close(
                regions[b, j], reference.pool_patches(patches[b], chosen), rtol=0, atol=1e-12
            )


def test_selecting_all_patches_gives_their_mean():
    patches, sentences = random_pair()
    selected = select_top_k(similarity_map(patches, sentences), top_k=9)
    regions = pool_patches(patches, selected)
    torch.testing.assert_close(regions, patches.mean(dim=1, keepdim=True).expand(-1, 4, -1))


def test_selecting_one_patch_gives_the_most_similar():
    patches, sentences = random_pair()
    similarity = similarity_map(patches, sentences)
    regions = pool_patches(patches, select_top_k(similarity, top_k=1))
    best = similarity.argmax(dim=-1)
    for b in range(2):
        assert torch.equal(regions[b], patches[b, best[b]])


def test_gradient_reaches_selected_patches_alone_with_one_kth_each():
    patches, sentences = random_pair(sentences=1)
    patches.requires_grad_()
    selected = select_top_k(similarity_map(patches, sentences), top_k=3)
    upstream = torch.randn(2, 1, 5, dtype=torch.float64)
    pool_patches(patches, selected).backward(upstream)
    for b in range(2):
        for i in range(9):
            expected = upstream[b, 0] / 3 if selected[b, 0, i] else torch.zeros_like(upstream[b, 0])
            torch.testing.assert_close(patches.grad[b, i], expected)


def test_selection_passes_no_gradient_to_the_sentence():
    patches, sentences = random_pair()
    sentences.requires_grad_()
    selected = select_top_k(similarity_map(patches, sentences), top_k=3)
    assert not selected.requires_grad
    assert not pool_patches(patches, selected).requires_grad


def test_ties_go_to_the_lower_index():
    similarity = torch.tensor([[0.5, 0.9, 0.5, 0.5, 0.9, 0.9]])
    assert select_top_k(similarity, 2).nonzero()[:, 1].tolist() == [1, 4]
    assert select_top_k(similarity, 4).nonzero()[:, 1].tolist() == [0, 1, 4, 5]
    assert select_top_k(torch.zeros(1, 2744), 32)[0, :32].all()


@given(seeds, st.integers(1, 12))
@settings(max_examples=50, deadline=None)
def test_heavily_tied_similarities_are_selected_as_the_reference_does(seed, top_k):
    draw = torch.Generator().manual_seed(seed)
    similarity = torch.randint(-1, 2, (1, 3, 10), generator=draw).double()
    is_candidate = torch.rand(1, 10, generator=draw) < 0.7
    selected = select_top_k(similarity, top_k, is_candidate)
    for j in range(3):
        chosen = reference.select_top_k(similarity[0, j].tolist(), top_k, is_candidate[0].tolist())
        assert selected[0, j].nonzero().flatten().tolist() == sorted(chosen)


def test_with_fewer_candidates_than_k_all_of_them_are_selected():
    similarity = torch.rand(1, 2, 6)
    is_candidate = torch.tensor([[False, True, False, True, False, False]])
    selected = select_top_k(similarity, 4, is_candidate)
    assert torch.equal(selected, is_candidate[:, None].expand(1, 2, 6))


def test_without_candidates_nothing_is_selected_and_the_region_is_zero():
    patches, sentences = random_pair()
    patches.requires_grad_()
    none = torch.zeros(2, 9, dtype=torch.bool)
    selected = select_top_k(similarity_map(patches, sentences), 3, none)
    regions = pool_patches(patches, selected)
    logits = region_logits(sentences, regions, 0.07)
    logits.sum().backward()
    assert not selected.any()
    assert not regions.any()
    assert not logits.any()
    assert torch.equal(patches.grad, torch.zeros_like(patches))


def test_a_k_below_one_is_refused():
    with pytest.raises(ValueError, match="at least one patch"):
        select_top_k(torch.rand(1, 2, 3), 0)


def test_three_sentences_by_hand():
    """Four patches in a plane; K = 2; sentences point along x, along y and along -x."""
    patches = torch.tensor([[[2.0, 0.0], [3.0, 4.0], [0.0, 1.0], [-1.0, 0.0]]])
    sentences = torch.tensor([[[5.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]])
    similarity = similarity_map(patches, sentences)
    by_hand = [[1.0, 0.6, 0.0, -1.0], [0.0, 0.8, 1.0, 0.0], [-1.0, -0.6, 0.0, 1.0]]
    torch.testing.assert_close(similarity, torch.tensor([by_hand]))
    selected = select_top_k(similarity, 2)
    assert [row.nonzero().flatten().tolist() for row in selected[0]] == [[0, 1], [1, 2], [2, 3]]
    regions = pool_patches(patches, selected)
    torch.testing.assert_close(regions, torch.tensor([[[2.5, 2.0], [1.5, 2.5], [-0.5, 0.5]]]))
    logits = region_logits(sentences, regions, temperature=0.5)
    lengths = [math.sqrt(10.25), math.sqrt(8.5), math.sqrt(0.5)]
    x = [2 * r / n for r, n in zip([2.5, 1.5, -0.5], lengths, strict=True)]
    y = [2 * r / n for r, n in zip([2.0, 2.5, 0.5], lengths, strict=True)]
    torch.testing.assert_close(logits, torch.tensor([[x, y, [-value for value in x]]]))


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_inputs_are_computed_in_float32(autocast):
    patches, sentences = random_pair(dtype=torch.bfloat16, shared=64)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        similarity = similarity_map(patches, sentences)
        regions = pool_patches(patches, select_top_k(similarity, 3))
        logits = region_logits(sentences, regions, 0.07)
    assert {x.dtype for x in (similarity, regions, logits)} == {torch.float32}
    exact = similarity_map(patches.double(), sentences.double())
    torch.testing.assert_close(similarity.double(), exact, rtol=0, atol=1e-6)


def test_float32_inputs_stay_float32_inside_autocast():
    patches, sentences = random_pair(dtype=torch.float32, shared=64)
    outside = similarity_map(patches, sentences)
    with torch.autocast("cpu", torch.bfloat16):
        inside = similarity_map(patches, sentences)
    assert torch.equal(inside, outside)


def test_vectors_of_length_zero_give_finite_gradients():
    patches, sentences = random_pair()
    patches[:, 0] = 0
    sentences[:, 0] = 0
    patches.requires_grad_()
    sentences.requires_grad_()
    similarity_map(patches, sentences).sum().backward()
    assert patches.grad.isfinite().all()
    assert sentences.grad.isfinite().all()
