"""Figures against scikit-learn and slow references, their intervals against simulation."""

import math
import time

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
)

from simcrop.evaluate.calibration import (
    expected_calibration_error,
    fit_temperature,
    reliability,
    with_temperature,
)
from simcrop.evaluate.classification import auroc, average_precision
from simcrop.evaluate.decisions import balanced_accuracy, best_f1_threshold, f1
from simcrop.evaluate.delong import delong
from simcrop.evaluate.intervals import (
    auroc_intervals,
    mean_intervals,
    resample_patients,
    weighted_average_precision,
)
from simcrop.evaluate.scorecard import operating_points, score


@pytest.mark.parametrize("num_values", [3, 1000])
def test_weighted_average_precision_is_that_of_repeated_studies(num_values):
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(num_values, size=80) / 7, rng.integers(2, size=80)
    weights = rng.integers(4, size=(20, 80)).astype(float)
    for value, row in zip(
        weighted_average_precision(scores, labels, weights), weights, strict=True
    ):
        times = row.astype(int)
        repeated = average_precision_score(np.repeat(labels, times), np.repeat(scores, times))
        assert value == pytest.approx(repeated, abs=1e-12)
    nothing = weighted_average_precision(scores, np.zeros(80, dtype=int), weights)
    assert np.isnan(nothing).all()


@pytest.mark.parametrize("num_values", [2, 9, 1000])
def test_no_threshold_has_a_better_f1_and_decisions_agree_with_sklearn(num_values):
    rng = np.random.default_rng(num_values)
    labels = rng.integers(2, size=70)
    scores = np.round(rng.random(70) + 0.3 * labels, 3) if num_values > 9 else labels * 0.0
    scores = scores if num_values > 9 else rng.integers(num_values, size=70) / num_values
    threshold = best_f1_threshold(scores, labels)
    every = [f1_score(labels, scores >= t) for t in np.unique(scores)]
    assert f1_score(labels, scores >= threshold) == pytest.approx(max(every))
    taken, ones = scores >= threshold, np.ones((1, 70))
    assert f1(taken, labels, ones)[0] == pytest.approx(f1_score(labels, taken))
    expected = balanced_accuracy_score(labels, taken)
    assert balanced_accuracy(taken, labels, ones)[0] == pytest.approx(expected)


def test_decisions_without_a_class():
    scores, none = np.array([0.2, 0.7]), np.array([0, 0])
    assert best_f1_threshold(scores, none) == 0.5
    assert math.isnan(f1(scores > 0.5, none, np.ones((1, 2)))[0])
    assert math.isnan(balanced_accuracy(scores > 0.5, none, np.ones((1, 2)))[0])


def test_reliability_against_a_loop():
    rng = np.random.default_rng(1)
    probabilities, labels = rng.random(300), rng.integers(2, size=300)
    bins, error = reliability(probabilities, labels), 0.0
    for b in range(10):
        inside = (probabilities >= b / 10) & (probabilities < (b + 1) / 10)
        assert bins.count[b] == inside.sum()
        assert bins.predicted[b] == pytest.approx(probabilities[inside].mean())
        assert bins.observed[b] == pytest.approx(labels[inside].mean())
        error += inside.mean() * abs(probabilities[inside].mean() - labels[inside].mean())
    assert expected_calibration_error(probabilities, labels) == pytest.approx(error)
    assert reliability(np.array([0.0, 1.0]), np.array([0, 1])).count[[0, 9]].tolist() == [1, 1]
    assert math.isnan(expected_calibration_error(np.zeros(0), np.zeros(0)))
    with pytest.raises(ValueError, match="outside"):
        reliability(np.array([1.2]), np.array([1]))


def test_the_temperature_undoes_overconfidence_and_keeps_the_order():
    rng = np.random.default_rng(2)
    true = rng.normal(size=4000)
    labels = (rng.random(4000) < 1 / (1 + np.exp(-true))).astype(int)
    loud = 1 / (1 + np.exp(-3 * true))
    temperature = fit_temperature(loud, labels)
    assert temperature == pytest.approx(3, rel=0.1)
    calm = with_temperature(loud, temperature)
    assert log_loss(labels, calm) < log_loss(labels, with_temperature(loud, 1.1 * temperature))
    assert log_loss(labels, calm) < log_loss(labels, with_temperature(loud, 0.9 * temperature))
    assert auroc(calm, labels) == auroc(loud, labels)
    assert expected_calibration_error(calm, labels) < expected_calibration_error(loud, labels) / 3
    assert fit_temperature(loud, np.ones(4000)) == 1.0
    assert with_temperature(np.array([0.0, 1.0]), 1.0) == pytest.approx([0, 1], abs=1e-6)


def slow_delong_variance(scores, other, labels):
    """Variance of the difference from all pairs, as the paper's formula reads."""
    win = [
        (s[labels == 1][:, None] > s[labels == 0])
        + 0.5 * (s[labels == 1][:, None] == s[labels == 0])
        for s in (scores, other)
    ]
    gap = win[0] - win[1]
    m, n = gap.shape
    return gap.mean(axis=1).var(ddof=1) / m + gap.mean(axis=0).var(ddof=1) / n


@pytest.mark.parametrize("num_values", [4, 1000])
def test_delong_against_all_pairs(num_values):
    rng = np.random.default_rng(3)
    labels = rng.integers(2, size=60)
    scores, other = (rng.integers(num_values, size=60) + labels for _ in range(2))
    result = delong(scores.astype(float), other.astype(float), labels)
    assert result.auroc == pytest.approx(auroc(scores.astype(float), labels))
    assert result.difference == pytest.approx(result.auroc - result.other_auroc)
    error = math.sqrt(slow_delong_variance(scores, other, labels))
    assert result.high - result.low == pytest.approx(2 * norm.ppf(0.975) * error)
    assert result.p_value == pytest.approx(2 * norm.sf(abs(result.difference) / error))
    assert delong(scores.astype(float), 2.0 * scores, labels).p_value == 1
    assert math.isnan(delong(np.arange(4.0), np.arange(4.0), np.array([1, 0, 0, 0])).p_value)


def test_delong_finds_no_difference_five_times_in_a_hundred():
    rng, found, rounds = np.random.default_rng(4), 0, 1000
    for _ in range(rounds):
        labels = np.arange(80) % 2
        common = rng.normal(size=80) + labels
        found += (
            delong(common + rng.normal(size=80), common + rng.normal(size=80), labels)[5] < 0.05
        )
    assert 0.03 < found / rounds < 0.07


def test_intervals_hold_the_truth_in_93_to_97_of_100_simulated_studies():
    """Patients with two volumes each; the truth is the binormal AUROC, the mean one of a shift."""
    rng, rounds, patients = np.random.default_rng(5), 600, 120
    truth = norm.cdf(1 / math.sqrt(2 * (0.5 + 1)))
    held = {"auroc": 0, "mean of labels": 0, "mean": 0}
    ids = [str(i // 2) for i in range(2 * patients)]
    for _ in range(rounds):
        labels = np.repeat(rng.integers(2, size=(patients, 3)), 2, axis=0)
        person = np.repeat(rng.normal(size=(patients, 3)), 2, axis=0) * math.sqrt(0.5)
        scores = labels + person + rng.normal(size=labels.shape)
        result = auroc_intervals(scores, labels, ids, num_resamples=400)
        held["auroc"] += result.per_label[0].low <= truth <= result.per_label[0].high
        held["mean of labels"] += result.mean.low <= truth <= result.mean.high
        values = 0.3 + person[:, 0] + rng.normal(size=2 * patients)
        mean = mean_intervals(values, np.zeros(2 * patients, dtype=int), 1, ids, num_resamples=400)
        held["mean"] += mean.mean.low <= 0.3 <= mean.mean.high
    assert {name for name, n in held.items() if not 0.93 <= n / rounds <= 0.97} == set(), held


def random_studies(n, num_labels, seed=0):
    rng = np.random.default_rng(seed)
    labels = (rng.random((n, num_labels)) < 0.3).astype(int)
    scores = 1 / (1 + np.exp(-(rng.normal(size=labels.shape) + labels)))
    return scores, labels, [f"p{i}" for i in rng.integers(n // 2, size=n)]


def test_a_scorecard_holds_the_plain_figures():
    scores, labels, patients = random_studies(200, 3)
    points = operating_points(*random_studies(200, 3, seed=1)[:2])
    card = score(scores, labels, patients, ["a", "b", "c"], points, num_resamples=50)
    for i in range(3):
        s, y = scores[:, i], labels[:, i]
        taken = s >= points.thresholds[i]
        assert card.auroc.per_label[i].value == pytest.approx(auroc(s, y))
        assert card.average_precision.per_label[i].value == pytest.approx(average_precision(s, y))
        assert card.f1.per_label[i].value == pytest.approx(f1_score(y, taken))
        accuracy = balanced_accuracy_score(y, taken)
        assert card.balanced_accuracy.per_label[i].value == pytest.approx(accuracy)
        assert card.prevalence[i] == pytest.approx(y.mean())
        assert card.calibration_error[i] == pytest.approx(expected_calibration_error(s, y))
    assert card.num_patients == len(set(patients))
    assert card.classes is None
    assert set(card.to_dict()["f1"]["labels"]) == {"a", "b", "c"}


def test_labels_that_exclude_each_other_have_an_accuracy_and_a_confusion_matrix():
    rng = np.random.default_rng(7)
    truth = rng.integers(3, size=90)
    scores = rng.random((90, 3)) + np.eye(3)[truth] * 0.4
    scores /= scores.sum(axis=1, keepdims=True)
    labels = np.eye(3, dtype=int)[truth]
    ids = [str(i) for i in range(90)]
    points = operating_points(scores, labels)
    card = score(scores, labels, ids, list("abc"), points, are_exclusive=True, num_resamples=20)
    classes = card.classes
    answer = scores.argmax(axis=1)
    assert classes.accuracy.value == pytest.approx(accuracy_score(truth, answer))
    assert classes.macro_f1.value == pytest.approx(f1_score(truth, answer, average="macro"))
    np.testing.assert_array_equal(classes.confusion, confusion_matrix(truth, answer))


def test_a_class_that_is_absent_and_a_single_patient_are_defined():
    scores, labels, _ = random_studies(40, 2)
    labels[:, 1] = 0
    points = operating_points(scores, labels)
    card = score(scores, labels, ["one"] * 40, ["a", "b"], points, num_resamples=20)
    assert math.isnan(card.auroc.per_label[1].value)
    assert math.isnan(card.average_precision.per_label[1].value)
    assert card.auroc.mean.value == card.auroc.per_label[0].value
    assert math.isnan(card.auroc.per_label[0].low)
    assert points.thresholds[1] == 0.5
    assert points.temperatures[1] == 1.0
    assert card.to_dict()["auroc"]["labels"]["b"]["value"] is None


def test_the_scorecard_of_the_ct_rate_test_size_takes_seconds():
    scores, labels, patients = random_studies(3009, 18)
    points = operating_points(scores, labels)
    started = time.process_time()
    card = score(scores, labels, patients, [str(i) for i in range(18)], points)
    assert card.auroc.mean.num_resamples == 1000
    assert time.process_time() - started < 20  # 10 s on two cores; seconds when the machine is free


def test_resampling_by_patient_is_shared_by_all_figures():
    ids = ["a", "a", "b", "c"]
    weights = resample_patients(ids, num_resamples=30, seed=0)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 1])
