"""Ranks against brute force, ties in the middle, duplicates as hits, chance by counting."""

import json
import math
from itertools import permutations

import numpy as np
import pytest

from simcrop.evaluate.retrieval import (
    chance_recall,
    evaluate_retrieval,
    ranks,
    retrieval_table,
    weighted_median,
)


def slow_rank(scores, is_match):
    """The mean over the best match's ranks in all orders that ties allow."""
    if not is_match.any():
        return math.nan
    best = max(s for s, m in zip(scores, is_match, strict=True) if m)
    wrong = [s for s, m in zip(scores, is_match, strict=True) if not m]
    above, tied = sum(s > best for s in wrong), sum(s == best for s in wrong)
    places = [order.index("match") for order in permutations(["match", *range(tied)])]
    return 1 + above + sum(places) / len(places)


def test_ranks_agree_with_brute_force_with_ties_and_several_matches():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, size=(60, 7)) / 4
    is_match = rng.random((60, 7)) < 0.25
    expected = [slow_rank(s, m) for s, m in zip(scores, is_match, strict=True)]
    np.testing.assert_allclose(ranks(scores, is_match), expected)
    assert np.isnan(expected).any()


def test_the_order_of_candidates_and_a_monotone_change_of_scores_keep_the_ranks():
    rng = np.random.default_rng(1)
    scores, is_match = rng.normal(size=(20, 15)), rng.random((20, 15)) < 0.2
    order = rng.permutation(15)
    expected = ranks(scores, is_match)
    np.testing.assert_array_equal(ranks(scores[:, order], is_match[:, order]), expected)
    np.testing.assert_array_equal(ranks(np.exp(3 * scores), is_match), expected)


def test_a_constant_score_ranks_in_the_middle_and_hits_nothing():
    rank = ranks(np.zeros((5, 11)), np.eye(5, 11, dtype=bool))
    assert rank.tolist() == [6.0] * 5


def test_any_of_several_equal_reports_is_a_hit():
    scores = np.array([[0.1, 0.9, 0.5], [0.2, 0.3, 0.9]])
    alone, twins = np.eye(2, 3, dtype=bool), np.array([[1, 1, 0], [1, 1, 0]], dtype=bool)
    assert ranks(scores, alone).tolist() == [3, 2]
    assert ranks(scores, twins).tolist() == [1, 2]
    found = evaluate_retrieval(scores, twins, ["a", "b"], query="report", candidate="volume")
    assert found.num_ambiguous == 2
    assert found.recall[1].value == 0.5
    assert found.median_rank.value == 1.5


def test_queries_without_a_match_are_counted_and_left_out():
    scores, is_match = np.eye(3), np.eye(3, dtype=bool)
    is_match[2] = False
    found = evaluate_retrieval(scores, is_match, list("abc"), query="report", candidate="volume")
    assert (found.num_queries, found.num_unanswerable) == (2, 1)
    np.testing.assert_array_equal(found.ranks, [1, 1, np.nan])
    assert found.recall[1].value == 1
    with pytest.raises(ValueError, match="none of 3 queries has a match"):
        evaluate_retrieval(scores, ~np.ones((3, 3), bool), list("abc"), query="q", candidate="c")
    with pytest.raises(ValueError, match="not finite"):
        ranks(scores * np.nan, is_match)


@pytest.mark.parametrize(("num_matches", "depth"), [(1, 1), (1, 5), (3, 5), (2, 50), (6, 1)])
def test_chance_is_that_of_a_random_order(num_matches, depth):
    rng = np.random.default_rng(0)
    is_match = np.arange(12) < num_matches
    hits = [is_match[rng.permutation(12)][:depth].any() for _ in range(4000)]
    expected = chance_recall(np.array([num_matches]), 12, depth)
    assert np.mean(hits) == pytest.approx(expected, abs=0.025)


def test_random_scores_reach_chance_and_a_perfect_one_everything():
    rng = np.random.default_rng(2)
    is_match = rng.random((400, 60)) < 0.05
    patients = [f"p{i // 2}" for i in range(400)]
    found = evaluate_retrieval(
        rng.random((400, 60)), is_match, patients, query="sentence", candidate="volume"
    )
    for k in (1, 5, 10):
        assert found.recall[k].low < found.chance[k] < found.recall[k].high
    assert found.recall[50].value == pytest.approx(found.chance[50], abs=0.02)
    perfect = evaluate_retrieval(
        is_match + 0.0, is_match, patients, query="sentence", candidate="volume"
    )
    assert perfect.recall[1].value == perfect.median_rank.value == 1


def test_the_weighted_median_is_that_of_repeated_values():
    rng = np.random.default_rng(3)
    values, weights = (
        rng.integers(1, 9, size=20) / 2,
        rng.integers(0, 4, size=(30, 20)).astype(float),
    )
    found = weighted_median(values, weights)
    expected = [np.median(np.repeat(values, row.astype(int))) for row in weights]
    np.testing.assert_allclose(found, expected)


def test_the_table_and_the_json_say_what_the_pool_was():
    scores = np.random.default_rng(0).random((4, 4))
    found = evaluate_retrieval(
        scores, np.eye(4, dtype=bool), list("abcd"), query="report", candidate="volume"
    )
    row = retrieval_table({"studies, top-k": [found]}).rows[0]
    assert row[:5] == ("studies, top-k", "report to volume", "4", "4", "0")
    assert row[5].endswith("(0.250)")
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["chance"]["5"] == 1
