import numpy as np
import pytest

from simcrop.evaluate.zero_shot import pair_probability, pool_top_k


def test_pooling_averages_the_largest_candidates():
    similarity = np.array([[0.1, 0.9, 0.5, 0.7]])
    is_candidate = np.array([[True, False, True, True]])
    assert pool_top_k(similarity, is_candidate, 1) == pytest.approx([0.7])
    assert pool_top_k(similarity, is_candidate, 2) == pytest.approx([0.6])
    assert pool_top_k(similarity, is_candidate, 99) == pytest.approx([1.3 / 3])


def test_pooling_ignores_the_order_of_patches_and_what_is_no_candidate():
    rng = np.random.default_rng(0)
    similarity, is_candidate = rng.normal(size=(5, 30)), rng.random((5, 30)) < 0.7
    expected = pool_top_k(similarity, is_candidate, 6)
    shuffle = rng.permutation(30)
    np.testing.assert_allclose(
        pool_top_k(similarity[:, shuffle], is_candidate[:, shuffle], 6), expected
    )
    changed = np.where(is_candidate, similarity, 1e6)
    np.testing.assert_array_equal(pool_top_k(changed, is_candidate, 6), expected)


def test_the_probability_is_the_softmax_of_the_pair():
    positive, negative = np.array([0.3, 0.1, 0.2]), np.array([0.1, 0.3, 0.2])
    found = pair_probability(positive, negative, 0.07)
    odds = np.exp(np.stack([positive, negative]) / 0.07)
    np.testing.assert_allclose(found, odds[0] / odds.sum(axis=0))
    np.testing.assert_allclose(pair_probability(negative, positive, 0.07), 1 - found)
    assert pair_probability(np.array([1.0]), np.array([-1.0]), 1e-4).tolist() == [1.0]


def test_pooling_refuses_a_volume_without_candidates():
    with pytest.raises(ValueError, match="without a candidate"):
        pool_top_k(np.zeros((2, 3)), np.array([[True] * 3, [False] * 3]), 1)
    with pytest.raises(ValueError, match="top_k=0"):
        pool_top_k(np.zeros((1, 3)), np.ones((1, 3), dtype=bool), 0)
