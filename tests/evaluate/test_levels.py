"""Quantile levels of intervals, and on how many patients a figure hangs."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from simcrop.evaluate.intervals import auroc_intervals, mean_intervals
from simcrop.evaluate.items import Items
from simcrop.evaluate.levels import Support


def of_counts(*counts: int, total: int = 1000) -> Support:
    return Support.of_sample(np.array(counts), total)


@pytest.mark.parametrize(("n", "t"), [(5, 2.776), (10, 2.262), (20, 2.093), (100, 1.984)])
def test_levels_are_those_of_the_published_formula(n, t):
    """Phi(-sqrt(n / (n - 1)) t), with t of n - 1 degrees of freedom from tables."""
    low, high = of_counts(n).levels()[0]
    assert low == pytest.approx(norm.cdf(-math.sqrt(n / (n - 1)) * t), rel=2e-3)
    assert low + high == pytest.approx(1)


def test_levels_go_out_with_fewer_patients_and_one_has_none():
    lows = of_counts(2, 3, 10, 100, 10**9).levels()[:, 0]
    assert lows.tolist() == sorted(lows)
    assert lows[-1] == pytest.approx(0.025)
    assert np.isnan(of_counts(0, 1).levels()).all()


def test_two_classes_are_two_samples_as_welch_has_them():
    ids = [f"p{i}" for i in range(40)]
    labels = np.stack([np.arange(40) < 20, np.arange(40) < 6, np.arange(40) < 1], axis=1)
    support = Support.of_classes(labels, ids)
    welch = [(1 / m + 1 / n) ** 2 / (1 / m**2 / (m - 1) + 1 / n**2 / (n - 1)) for m, n in
             ((20, 20), (6, 34))]  # fmt: skip
    np.testing.assert_allclose(support.freedom, [*welch, 0])
    assert welch[0] == pytest.approx(38)
    assert support.share[0] == pytest.approx(19 / 20)
    assert 5 / 6 < support.share[1] < 33 / 34


def test_patients_are_counted_once_and_on_both_sides():
    ids = ["a", "a", "b", "c", "c"]
    labels = np.array([[1, 0], [1, 0], [0, 0], [0, 0], [1, 0]])  # c has both kinds
    assert Support.of_classes(labels, ids).freedom.tolist() == [2, 0]
    values = np.where(labels == 1, 0.5, np.nan)
    items = Items("m", "dice", tuple("vwxyz"), tuple(ids), ("one", "two"), values)
    assert items.support.freedom.tolist() == [1, 0]
    assert items.support.num_patients == 3


def test_a_mean_knows_more_than_a_label_and_no_more_than_its_patients():
    scored = np.array([True, True])
    assert of_counts(10, 10).of_mean(scored).freedom[0] == pytest.approx(18)
    assert of_counts(10, 10, total=12).of_mean(scored).freedom[0] == 11
    assert of_counts(10, 10).of_mean(scored).share[0] == pytest.approx(0.9)
    assert of_counts(10, 1).of_mean(scored).freedom[0] > 1
    assert of_counts(1, 1).of_mean(scored).freedom[0] == 0
    assert of_counts(5, 0).of_mean(~scored).freedom[0] == 0


@pytest.mark.parametrize(("patients", "prevalence"), [(12, 0.5), (40, 0.15)])
def test_few_patients_are_covered_93_to_98_times_in_100(patients, prevalence):
    """With the 2.5th and 97.5th percentile: 0.90 of means and 0.88 of AUROCs (benchmarks)."""
    rng, rounds = np.random.default_rng(7), 1000
    ids = [str(i // 2) for i in range(2 * patients)]
    truth, held = norm.cdf(1 / math.sqrt(2 * (0.5 + 1))), np.zeros(2)
    for seed in range(rounds):
        positives = max(2, rng.binomial(patients, prevalence))
        labels = np.repeat(np.arange(patients) < min(positives, patients - 2), 2)[:, None]
        person = np.repeat(rng.normal(size=(patients, 1)), 2, axis=0) * math.sqrt(0.5)
        noise = person + rng.normal(size=labels.shape)
        auroc = auroc_intervals(labels + noise, labels, ids, seed=seed).mean
        nothing = np.zeros(2 * patients, dtype=int)
        mean = mean_intervals(noise[:, 0], nothing, 1, ids, seed=seed).mean
        held += [auroc.low <= truth <= auroc.high, mean.low <= 0 <= mean.high]
    assert ((held / rounds >= 0.93) & (held / rounds <= 0.98)).all(), held / rounds
