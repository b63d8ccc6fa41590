import math
import time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score

from simcrop.evaluate.classification import (
    auroc,
    average_precision,
    fit_linear_probe,
    mean_auroc,
)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_values", [2, 7, 1000])
def test_against_sklearn_auroc_with_and_without_ties(seed, num_values):
    rng = np.random.default_rng(seed)
    scores = rng.integers(num_values, size=60) / 3
    labels = rng.integers(2, size=60)
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    expected = average_precision_score(labels, scores)
    assert average_precision(scores, labels) == pytest.approx(expected, abs=1e-12)


def test_auroc_of_perfect_reversed_and_constant_scores():
    scores, labels = np.array([0.1, 0.2, 0.8, 0.9]), np.array([0, 0, 1, 1])
    assert auroc(scores, labels) == 1
    assert auroc(-scores, labels) == 0
    assert auroc(np.zeros(4), labels) == 0.5


def test_auroc_is_nan_without_both_classes():
    scores = np.array([0.1, 0.2])
    assert math.isnan(auroc(scores, np.array([1, 1])))
    assert math.isnan(auroc(scores, np.array([False, False])))
    assert math.isnan(average_precision(scores, np.array([0, 0])))


def test_auroc_refuses_scores_and_labels_that_mean_nothing():
    with pytest.raises(ValueError, match="1 of 2 scores are not finite"):
        auroc(np.array([0.1, np.nan]), np.array([0, 1]))
    with pytest.raises(ValueError, match="expected only 0 and 1"):
        auroc(np.array([0.1, 0.2]), np.array([0, 2]))


def test_mean_auroc_skips_labels_with_one_class_and_counts_the_rest():
    scores = np.array([[0.1, 0.5, 0.9], [0.9, 0.4, 0.1]])
    labels = np.array([[0, 1, 0], [1, 1, 1]])
    assert mean_auroc(scores, labels) == (0.5, 2)
    value, num_scored = mean_auroc(scores, np.ones((2, 3), dtype=int))
    assert math.isnan(value)
    assert num_scored == 0


def probe_data(num_studies, num_labels, dim=12, seed=0):
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(99).normal(size=(dim, num_labels))
    features = rng.normal(size=(num_studies, dim)) * np.linspace(0.1, 30, dim) + 5
    evidence = (features - 5) / np.linspace(0.1, 30, dim) @ directions
    labels = (evidence + rng.normal(size=evidence.shape) > 1).astype(int)
    return features, labels


def test_against_sklearn_logistic_regression_probabilities():
    (train, train_labels), (val, val_labels) = probe_data(200, 2), probe_data(80, 2, seed=1)
    probe = fit_linear_probe(train, train_labels, val, val_labels, c_grid=[0.3])
    mean, scale = train.mean(axis=0), train.std(axis=0)
    for i in range(2):
        model = LogisticRegression(C=0.3).fit((train - mean) / scale, train_labels[:, i])
        expected = model.predict_proba((val - mean) / scale)[:, 1]
        np.testing.assert_allclose(probe.scores(val)[:, i], expected, atol=1e-9)


def test_probe_separates_what_is_separable_and_says_which_c_it_chose():
    (train, train_labels), (val, val_labels) = probe_data(400, 3), probe_data(200, 3, seed=1)
    probe = fit_linear_probe(train, train_labels, val, val_labels)
    test, test_labels = probe_data(300, 3, seed=2)
    assert mean_auroc(probe.scores(test), test_labels).value > 0.9
    assert probe.val_auroc[probe.c] == max(probe.val_auroc.values())


def test_probe_ignores_the_scale_and_offset_of_features():
    (train, train_labels), (val, val_labels) = probe_data(100, 1), probe_data(50, 1, seed=1)
    one = fit_linear_probe(train, train_labels, val, val_labels)
    other = fit_linear_probe(100 * train - 7, train_labels, 100 * val - 7, val_labels)
    np.testing.assert_allclose(one.scores(val), other.scores(100 * val - 7), atol=1e-6)


def test_probe_takes_constant_features_and_labels_with_one_class():
    features, labels = probe_data(60, 3)
    features[:, 4] = 2.5
    labels[:, 1], labels[:, 2] = 0, 1
    probe = fit_linear_probe(features.astype(np.float32), labels, features, labels)
    scores = probe.scores(features)
    assert np.isfinite(scores).all()
    assert np.ptp(scores[:, 1]) == np.ptp(scores[:, 2]) == 0
    assert scores[0, 1] < 0.05 < 0.95 < scores[0, 2]


def test_probe_falls_back_to_the_default_c_without_a_usable_validation_label():
    features, labels = probe_data(60, 2)
    probe = fit_linear_probe(features, labels, features[:3], np.zeros((3, 2), dtype=int))
    assert probe.c == 1e-2
    assert probe.val_auroc == {}


def test_probe_never_sees_more_than_train_and_val():
    (train, train_labels), (val, val_labels) = probe_data(100, 2), probe_data(50, 2, seed=1)
    one = fit_linear_probe(train, train_labels, val, val_labels, c_grid=[0.1])
    other = fit_linear_probe(train, train_labels, val[::-1], 1 - val_labels, c_grid=[0.1])
    np.testing.assert_array_equal(one.weights, other.weights)


def test_probe_of_ten_labels_is_fast():
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(2000, 64)), rng.integers(2, size=(2000, 10))
    start = time.process_time()
    fit_linear_probe(features, labels, features[:300], labels[:300])
    assert time.process_time() - start < 6
