"""Choosing on test never reports less, often more, and touches nothing that was reported."""

import numpy as np
import pytest
from development import development, held_out

from simcrop.evaluate.classification import mean_auroc
from simcrop.evaluate.decisions import best_f1_threshold
from simcrop.evaluate.held_out import fix_head
from simcrop.evaluate.logistic import fit_logistic
from simcrop.evaluate.replay import replay_selection


def guesses(seed):
    """A head that reads nothing: fixed random scores by volume."""

    def predict(inputs):
        key = np.abs(inputs.vectors[:, :1] * 1e6).astype(int)
        return np.stack([np.random.default_rng((seed, k)).random(3) for k in key[:, 0]])

    return predict


def test_among_heads_that_know_nothing_the_best_on_test_looks_better_than_chance():
    whole, tested = development(), held_out(test=200)
    heads = {f"guess {i}": guesses(i) for i in range(30)}
    head = fix_head(whole, heads, default="guess 0", settings={})
    replay = replay_selection(tested, tested.open(head))
    assert replay.num_candidates == 30
    assert replay.test_auroc > 0.53
    assert abs(replay.auroc - 0.5) < 0.08
    assert replay.inflation.value == pytest.approx(replay.test_auroc - replay.auroc)
    assert replay.inflation.low < replay.inflation.value < replay.inflation.high
    assert replay.test_f1 > replay.f1


def test_the_replay_takes_what_is_best_on_test_among_the_same_candidates():
    tested, head = held_out(), fit_logistic(development(signal=0.2))
    opened = tested.open(head)
    before = opened.scores.copy()
    replay = replay_selection(tested, opened)
    for name, candidate in head.candidates.items():
        one = candidate.predict(development().train.inputs)
        assert np.isfinite(one).all(), name
    assert replay.choice == head.choice
    assert (
        replay.test_auroc
        >= replay.auroc
        == pytest.approx(mean_auroc(opened.scores, opened.labels).value)
    )
    np.testing.assert_array_equal(opened.scores, before)
    np.testing.assert_array_equal(head.points.thresholds, opened.head.points.thresholds)
    best = [best_f1_threshold(s, y) for s, y in zip(opened.scores.T, opened.labels.T, strict=True)]
    if replay.test_choice == replay.choice:
        assert not np.array_equal(best, head.points.thresholds)
    assert replay.to_dict()["inflation"]["num_resamples"] == 1000


def test_one_candidate_leaves_nothing_to_inflate_but_the_threshold():
    tested, head = held_out(), fit_logistic(development(), c_grid=[0.1])
    replay = replay_selection(tested, tested.open(head))
    assert replay.inflation.value == 0
    assert replay.test_f1 >= replay.f1
