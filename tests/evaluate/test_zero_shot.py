import numpy as np
import pytest

from simcrop.evaluate.zero_shot import pool_top_k, zero_shot_scores


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


def test_score_is_the_difference_of_pooled_prompts_and_a_batch_equals_one_by_one():
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(size=(4, 2, 20)), rng.normal(size=(4, 3, 20))
    body = np.ones((4, 20), dtype=bool)
    scores = zero_shot_scores(positive, negative, body, 3)
    for i in range(4):
        means = [np.sort(maps[i], axis=1)[:, -3:].mean() for maps in (positive, negative)]
        assert scores[i] == pytest.approx(means[0] - means[1])
        alone = zero_shot_scores(positive[i : i + 1], negative[i : i + 1], body[:1], 3)
        assert alone[0] == pytest.approx(scores[i])
    np.testing.assert_allclose(zero_shot_scores(negative, positive, body, 3), -scores)


def test_pooling_refuses_a_volume_without_candidates():
    with pytest.raises(ValueError, match="without a candidate"):
        pool_top_k(np.zeros((2, 3)), np.array([[True] * 3, [False] * 3]), 1)
    with pytest.raises(ValueError, match="top_k=0"):
        pool_top_k(np.zeros((1, 3)), np.ones((1, 3), dtype=bool), 0)
