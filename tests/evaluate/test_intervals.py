import json
import math
import time

import numpy as np
import pytest

from simcrop.evaluate.classification import auroc
from simcrop.evaluate.intervals import (
    Interval,
    auroc_differences,
    auroc_intervals,
    mean_intervals,
    resample_patients,
    weighted_auroc,
)


def studies(num_patients, num_labels=1, per_patient=1, seed=0, shift=1.0):
    """Normal scores, moved by `shift` for positives; a patient's studies share half the noise."""
    rng = np.random.default_rng(seed)
    n = num_patients * per_patient
    labels = rng.integers(2, size=(n, num_labels))
    noise = rng.normal(size=(num_patients, num_labels)).repeat(per_patient, axis=0)
    scores = shift * labels + (noise + rng.normal(size=(n, num_labels))) / math.sqrt(2)
    ids = [f"patient_{i // per_patient}" for i in range(n)]
    return scores, labels, ids


def test_weighted_auroc_equals_auroc_of_repeated_studies():
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(6, size=40) / 1.0, rng.integers(2, size=40)
    weights = rng.integers(4, size=(20, 40)).astype(float)
    expected = [auroc(scores.repeat(row), labels.repeat(row)) for row in weights.astype(int)]
    np.testing.assert_allclose(weighted_auroc(scores, labels, weights), expected, atol=1e-12)


def test_weighted_auroc_is_nan_where_a_class_has_no_weight():
    scores, labels = np.array([0.1, 0.9]), np.array([0, 1])
    weights = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 2.0]])
    np.testing.assert_array_equal(weighted_auroc(scores, labels, weights), [1, np.nan, np.nan])


def test_resamples_draw_whole_patients_and_repeat_with_the_seed():
    ids = ["a", "b", "a", "c", "b"]
    weights = resample_patients(ids, num_resamples=50, seed=3)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, [0, 1, 3]].sum(axis=1), np.full(50, 3))
    np.testing.assert_array_equal(weights, resample_patients(ids, num_resamples=50, seed=3))
    assert (weights != resample_patients(ids, num_resamples=50, seed=4)).any()


def test_interval_holds_the_value_and_shrinks_with_more_patients():
    widths = []
    for num_patients in (50, 800):
        scores, labels, ids = studies(num_patients, 2)
        result = auroc_intervals(scores, labels, ids)
        for i, interval in enumerate(result.per_label):
            assert interval.value == auroc(scores[:, i], labels[:, i])
            assert interval.low < interval.value < interval.high
            assert interval.num_resamples == 1000
        values = [interval.value for interval in result.per_label]
        assert result.mean.value == pytest.approx(np.mean(values))
        widths.append(result.mean.high - result.mean.low)
    assert widths[1] < widths[0] / 3


@pytest.mark.parametrize("per_patient", [1, 4])
def test_intervals_cover_the_truth_about_95_times_in_100(per_patient):
    truth = 0.5 * (1 + math.erf(1.0 / 2))  # P(N(1, 1) > N(0, 1))
    hits = 0
    for seed in range(300):
        data = studies(100, per_patient=per_patient, seed=seed)
        interval = auroc_intervals(*data, num_resamples=400, seed=seed).mean
        hits += interval.low <= truth <= interval.high
    assert 0.91 <= hits / 300 <= 0.98  # 0.95, plus or minus three standard errors


def test_studies_of_one_patient_widen_the_interval():
    scores, labels, ids = studies(60, per_patient=5)
    by_patient = auroc_intervals(scores, labels, ids).mean
    by_study = auroc_intervals(scores, labels, [str(i) for i in range(300)]).mean
    assert by_patient.high - by_patient.low > 1.1 * (by_study.high - by_study.low)


def test_difference_of_equal_scores_is_zero():
    scores, labels, ids = studies(40, 3)
    result = auroc_differences(scores, scores, labels, ids)
    assert all((i.value, i.low, i.high) == (0, 0, 0) for i in (*result.per_label, result.mean))


def test_difference_is_antisymmetric_and_sharper_than_two_intervals():
    scores, labels, ids = studies(200)
    worse = scores + 0.3 * np.random.default_rng(5).normal(size=scores.shape)
    one = auroc_differences(scores, worse, labels, ids).mean
    other = auroc_differences(worse, scores, labels, ids).mean
    assert (one.value, one.low, one.high) == pytest.approx((-other.value, -other.high, -other.low))
    alone = auroc_intervals(scores, labels, ids).mean
    assert one.high - one.low < 0.6 * (alone.high - alone.low)


def test_label_with_one_class_has_no_interval_and_leaves_the_mean():
    scores, labels, ids = studies(40, 2)
    labels[:, 1] = 0
    result = auroc_intervals(scores, labels, ids)
    assert math.isnan(result.per_label[1].value)
    assert result.num_scored == 1
    assert result.mean == result.per_label[0]


def test_resamples_that_miss_a_class_are_skipped_and_counted():
    scores, labels, ids = studies(30, 2)
    labels[:, 1] = 0
    labels[:2, 1] = 1
    result = auroc_intervals(scores, labels, ids)
    rare = result.per_label[1]
    assert 800 < rare.num_resamples < 920  # 1 - 1/e^2 of them hold one of the positive patients
    assert result.mean.num_resamples == rare.num_resamples
    assert result.per_label[0].num_resamples == 1000


def test_one_patient_or_no_usable_label_gives_no_interval():
    scores, labels, _ = studies(10)
    one_patient = auroc_intervals(scores, labels, ["p"] * 10).mean
    assert one_patient.value == auroc(scores[:, 0], labels[:, 0])
    assert math.isnan(one_patient.low)
    assert one_patient.num_resamples == 0
    nothing = auroc_intervals(scores, np.zeros_like(labels), [str(i) for i in range(10)]).mean
    assert math.isnan(nothing.value)


def test_a_label_of_one_positive_patient_has_no_interval_and_its_mean_has():
    scores, labels, ids = studies(30, 2, per_patient=2)
    labels[:, 1] = 0
    labels[:2, 1] = 1
    result = auroc_intervals(scores, labels, ids)
    assert math.isnan(result.per_label[1].low)
    assert result.mean.low < result.mean.value < result.mean.high
    once = mean_intervals(np.arange(4.0), np.array([0, 0, 1, 1]), 2, ["a", "b", "c", "c"])
    assert [math.isnan(interval.low) for interval in once.per_label] == [False, True]


def test_mean_intervals_are_means_of_labels_and_pass_over_nan():
    values = np.array([1.0, 0.0, np.nan, 1.0])
    labels = np.array([0, 0, 0, 1])
    result = mean_intervals(values, labels, 3, list("abcd"))
    assert [i.value for i in result.per_label[:2]] == [0.5, 1.0]
    assert math.isnan(result.per_label[2].value)
    assert result.mean.value == 0.75
    assert result.per_label[1].num_resamples < 1000


def test_results_are_valid_json():
    scores, labels, ids = studies(20, 2)
    labels[:, 1] = 1
    text = json.dumps(auroc_intervals(scores, labels, ids).to_dict(["a", "b"]), allow_nan=False)
    assert json.loads(text)["labels"]["b"]["value"] is None
    assert Interval(math.nan, 0.1, 0.2, 3).to_dict()["num_resamples"] == 3


def test_a_thousand_resamples_are_fast():
    scores, labels, ids = studies(500, 10)
    start = time.process_time()
    auroc_intervals(scores, labels, ids)
    assert time.process_time() - start < 6
