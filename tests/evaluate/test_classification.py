import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from simcrop.evaluate.classification import auroc, average_precision, mean_auroc


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
