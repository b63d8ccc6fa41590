import json
import math

import numpy as np
import pytest

from simcrop.evaluate.grounding import (
    GroundedSentence,
    evaluate_grounding,
    hit_at_k,
    pointing_hit,
    score_sentence,
    target_patches,
)


def grounded(similarity, swapped, share, body=None, patient="p1", label="nodule"):
    n = len(share)
    is_body = np.ones(n, dtype=bool) if body is None else np.asarray(body)
    arrays = [np.asarray(a, dtype=float) for a in (similarity, swapped, share)]
    return GroundedSentence("s1", patient, label, "A nodule is observed.", *arrays, is_body)


def test_targets_are_the_body_patches_that_hold_a_tenth_of_the_fullest():
    share, is_body = np.array([0.5, 0.06, 0.04, 0, 0.9]), np.array([True, True, True, True, False])
    assert target_patches(share, is_body).tolist() == [True, True, False, False, False]
    touched = target_patches(share, is_body, min_relative_share=0.0)
    assert touched.tolist() == [True, True, True, False, False]


def test_a_small_mask_always_has_a_target():
    assert target_patches(np.array([0, 1e-4]), np.ones(2, dtype=bool)).tolist() == [False, True]


def test_pointing_takes_body_patches_only_and_the_first_of_equals():
    is_target, is_body = np.array([False, True, False]), np.array([False, True, True])
    assert pointing_hit(np.array([9.0, 0.5, 0.1]), is_target, is_body)
    assert pointing_hit(np.array([9.0, 0.5, 0.5]), is_target, is_body)
    assert not pointing_hit(np.array([9.0, 0.1, 0.5]), is_target, is_body)


def test_hit_at_k_is_the_share_of_targets_among_the_selected():
    similarity = np.array([0.9, 0.8, 0.7, 0.1, 5.0])
    is_target = np.array([True, False, True, False, False])
    is_body = np.array([True, True, True, True, False])
    shares = [hit_at_k(similarity, is_target, is_body, k) for k in (1, 2, 3, 4, 99)]
    assert shares == [1, 0.5, pytest.approx(2 / 3), 0.5, 0.5]


def test_perfect_map_hits_and_reversed_map_does_not():
    share = np.r_[0.0, 0.0, 0.3, 0.8, 0.0, 0.0]
    score = score_sentence(grounded(share, -share, share), top_k=2)
    assert (score.hit, score.hit_at_k, score.patch_auroc) == (1, 1, 1)
    assert (score.swapped_hit, score.swapped_hit_at_k, score.swapped_patch_auroc) == (0, 0, 0)
    assert score.chance == pytest.approx(2 / 6)
    assert score.hit_difference == 1


def test_random_maps_score_at_the_chance_level():
    rng = np.random.default_rng(0)
    body = rng.random(24) < 0.8
    share = np.where(rng.random(24) < 0.3, 0.5, 0)
    sentences = [
        grounded(rng.random(24), rng.random(24), share, body, patient=f"p{i}") for i in range(2000)
    ]
    mean = evaluate_grounding(sentences, top_k=4).mean
    expected = ((share > 0) & body).sum() / body.sum()
    assert mean.chance.value == pytest.approx(expected)
    assert mean.hit.low < expected < mean.hit.high
    assert mean.hit_at_k.value == pytest.approx(expected, abs=0.02)
    assert mean.patch_auroc.value == pytest.approx(0.5, abs=0.02)
    assert mean.hit_difference.low < 0 < mean.hit_difference.high


def test_a_map_that_knows_only_the_position_gains_nothing_over_its_swap():
    prior = np.r_[np.zeros(10), 1.0, np.zeros(13)]
    sentences = [grounded(prior, prior, np.roll(prior, i % 2), patient=f"p{i}") for i in range(40)]
    mean = evaluate_grounding(sentences, top_k=1).mean
    assert mean.hit.value == 0.5
    assert (mean.hit_difference.value, mean.hit_difference.high) == (0, 0)


def test_mean_counts_every_label_once_and_masks_outside_the_body_are_counted_out():
    share, nothing = np.r_[0.0, 1.0, 0.0], np.zeros(3)
    sentences = [
        *(grounded(share, -share, share, patient=f"a{i}", label="nodule") for i in range(3)),
        grounded(-share, share, share, patient="b", label="effusion"),
        grounded(share, share, nothing, patient="c", label="effusion"),
        grounded(share, share, share, [True, False, True], patient="d", label="effusion"),
    ]
    result = evaluate_grounding(sentences, top_k=1)
    assert [(row.label, row.num_sentences) for row in result.rows] == [
        ("effusion", 1),
        ("nodule", 3),
    ]
    assert [row.hit.value for row in result.rows] == [0, 1]
    assert result.mean.hit.value == 0.5
    assert result.num_left_out == 2


def test_a_mask_over_the_whole_body_has_no_auroc_but_a_hit():
    score = score_sentence(grounded([0.1, 0.2], [0.1, 0.2], [1, 1]), top_k=1)
    assert score.hit == score.chance == 1
    assert math.isnan(score.patch_auroc)


def test_grounding_refuses_an_empty_task_and_broken_maps():
    share = np.r_[0.0, 1.0]
    with pytest.raises(ValueError, match="none of 1 sentences has a mask on a body patch"):
        evaluate_grounding([grounded(share, share, 0 * share)], top_k=1)
    with pytest.raises(ValueError, match="not finite"):
        evaluate_grounding([grounded(share * np.nan, share, share)], top_k=1)


def test_grounding_result_is_valid_json():
    share = np.r_[0.0, 1.0, 1.0]
    result = evaluate_grounding([grounded(share, -share, share)], top_k=1)
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert json.loads(text)["labels"][0]["hit"]["value"] == 1
