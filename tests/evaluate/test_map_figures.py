"""Figures of many maps at once, against scikit-learn and against loops that are obviously right."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from simcrop.evaluate.map_figures import (
    at_peak,
    best_dice_threshold,
    dice,
    hit_at_k,
    patch_auroc,
    patch_average_precision,
    target_patches,
)


@pytest.fixture
def maps():
    """Forty maps of thirty patches with many ties, a body and a mask each."""
    rng = np.random.default_rng(0)
    similarity = rng.integers(0, 6, size=(40, 30)) / 5
    share = np.where(rng.random((40, 30)) < 0.3, rng.random((40, 30)), 0)
    body = rng.random((40, 30)) < 0.7
    return similarity, share, body, target_patches(share, body)


def test_targets_are_the_body_patches_that_hold_a_tenth_of_the_fullest():
    share, is_body = np.array([0.5, 0.06, 0.04, 0, 0.9]), np.array([True, True, True, True, False])
    assert target_patches(share, is_body).tolist() == [True, True, False, False, False]
    touched = target_patches(share, is_body, min_relative_share=0.0)
    assert touched.tolist() == [True, True, True, False, False]


def test_a_small_mask_always_has_a_target():
    assert target_patches(np.array([0, 1e-4]), np.ones(2, dtype=bool)).tolist() == [False, True]


def test_pointing_takes_body_patches_only_and_the_first_of_equals():
    is_target = np.tile([False, True, False], (3, 1))
    is_body = np.tile([False, True, True], (3, 1))
    similarity = np.array([[9.0, 0.5, 0.1], [9.0, 0.5, 0.5], [9.0, 0.1, 0.5]])
    assert at_peak(is_target, similarity, is_body).tolist() == [True, True, False]
    distance = np.tile([1.0, 2.0, 3.0], (3, 1))
    assert at_peak(distance, similarity, is_body).tolist() == [2, 2, 3]


def test_hit_at_k_is_the_share_of_targets_among_the_selected():
    similarity = np.array([[0.9, 0.8, 0.7, 0.1, 5.0]])
    is_target = np.array([[True, False, True, False, False]])
    is_body = np.array([[True, True, True, True, False]])
    shares = [hit_at_k(similarity, is_target, is_body, k).item() for k in (1, 2, 3, 4, 99)]
    assert shares == [1, 0.5, pytest.approx(2 / 3), 0.5, 0.5]


def test_against_sklearn_auroc_and_average_precision_with_ties(maps):
    similarity, _, body, target = maps
    auroc = patch_auroc(similarity, target, body)
    precision = patch_average_precision(similarity, target, body)
    for i in range(len(similarity)):
        truth, scores = target[i][body[i]], similarity[i][body[i]]
        assert auroc[i] == pytest.approx(roc_auc_score(truth, scores))
        assert precision[i] == pytest.approx(average_precision_score(truth, scores))


def test_what_is_no_body_and_the_order_of_patches_change_nothing(maps):
    similarity, share, body, target = maps
    elsewhere = np.where(body, similarity, 99.0)
    shuffle = np.random.default_rng(1).permutation(30)
    threshold = np.full(40, 0.5)
    for figure in (patch_auroc, patch_average_precision):
        expected = figure(similarity, target, body)
        np.testing.assert_array_equal(figure(elsewhere, target, body), expected)
        np.testing.assert_allclose(
            figure(similarity[:, shuffle], target[:, shuffle], body[:, shuffle]), expected
        )
    expected = dice(similarity, share, body, threshold)
    np.testing.assert_array_equal(dice(elsewhere, share, body, threshold), expected)


def test_many_maps_give_what_each_gives_alone(maps):
    similarity, _, body, target = maps
    hits, aurocs = hit_at_k(similarity, target, body, 4), patch_auroc(similarity, target, body)
    for i in range(5):
        alone = slice(i, i + 1)
        assert hits[i] == hit_at_k(similarity[alone], target[alone], body[alone], 4)
        assert aurocs[i] == patch_auroc(similarity[alone], target[alone], body[alone])


def test_without_targets_or_without_others_there_is_no_auroc():
    similarity, body = np.array([[0.1, 0.2]]), np.ones((1, 2), dtype=bool)
    assert math.isnan(patch_auroc(similarity, body, body).item())
    assert math.isnan(patch_auroc(similarity, ~body, body).item())
    assert math.isnan(patch_average_precision(similarity, ~body, body).item())
    assert patch_average_precision(similarity, body, body) == 1


def test_dice_is_that_of_the_voxels_of_whole_patches(maps):
    similarity, share, body, _ = maps
    share = np.round(share * 8) / 8  # patches of eight voxels
    figures = dice(similarity, share, body, np.full(40, 0.5))
    for i in range(len(similarity)):
        truth = np.arange(8) < 8 * share[i][:, None]
        predicted = np.repeat((similarity[i] >= 0.5) & body[i], 8).reshape(30, 8)
        expected = 2 * (truth & predicted).sum() / (truth.sum() + predicted.sum())
        assert figures[i] == pytest.approx(expected)
    assert np.isnan(dice(similarity, 0 * share, body, np.full(40, 0.5))).all()


def test_the_best_threshold_is_the_best_of_all(maps):
    similarity, share, body, _ = maps
    found = best_dice_threshold(similarity, share, body)
    means = {t: dice(similarity, share, body, np.full(40, t)).mean() for t in np.arange(6) / 5}
    at_found = dice(similarity, share, body, np.full(40, found)).mean()
    assert at_found == pytest.approx(max(means.values()))
