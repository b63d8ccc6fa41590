"""Quantile levels of intervals, and on how many patients a figure hangs."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from simcrop.evaluate.intervals import auroc_intervals, mean_intervals
from simcrop.evaluate.items import Items
from simcrop.evaluate.levels import (
    patients_of_mean,
    patients_of_rarer_class,
    patients_with,
    quantile_levels,
)


@pytest.mark.parametrize(("n", "low"), [(5, 0.00095), (10, 0.0085), (20, 0.0159), (100, 0.0231)])
def test_levels_are_those_of_the_published_formula(n, low):
    """Phi(-sqrt(n / (n - 1)) t), with t of 4, 9, 19 and 99 degrees of freedom from tables."""
    t = {5: 2.776, 10: 2.262, 20: 2.093, 100: 1.984}[n]
    assert quantile_levels(n)[0] == pytest.approx(norm.cdf(-math.sqrt(n / (n - 1)) * t), rel=2e-3)
    assert quantile_levels(n)[0] == pytest.approx(low, rel=0.02)


def test_levels_go_out_with_fewer_patients_and_are_even():
    lows = [quantile_levels(n)[0] for n in (2, 2.5, 3, 10, 100, 1e9)]
    assert lows == sorted(lows)
    assert lows[-1] == pytest.approx(0.025)
    assert sum(quantile_levels(7)) == pytest.approx(1)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_patients_have_no_levels(n):
    assert np.isnan(quantile_levels(n)).all()


def test_patients_are_counted_once_and_those_of_the_rarer_class():
    ids = ["a", "a", "b", "c", "c"]
    labels = np.array([[1, 0], [1, 0], [0, 0], [0, 0], [1, 0]])
    assert patients_with(labels == 1, ids).tolist() == [2, 0]
    assert patients_of_rarer_class(labels, ids).tolist() == [2, 0]  # c is on both sides
    assert patients_of_rarer_class(1 - labels, ids).tolist() == [2, 0]
    values = np.where(labels == 1, 0.5, np.nan)
    items = Items("m", "dice", tuple("vwxyz"), tuple(ids), ("one", "two"), values)
    assert items.num_patients.tolist() == [2, 0]


def test_a_mean_hangs_on_the_harmonic_mean_of_its_labels():
    assert patients_of_mean(np.array([10, 10])) == pytest.approx(10)
    assert patients_of_mean(np.array([4, 0, 12])) == pytest.approx(6)
    assert patients_of_mean(np.array([0])) == 0


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
