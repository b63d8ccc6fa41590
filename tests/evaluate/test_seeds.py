"""Figures over several seeds."""

import numpy as np
import pytest

from simcrop.evaluate.classification import mean_auroc
from simcrop.evaluate.intervals import auroc_intervals
from simcrop.evaluate.items import Items
from simcrop.evaluate.seeds import difference_over_seeds, mean_over_seeds

PATIENTS = tuple(f"p{i // 2}" for i in range(80))
IDS = tuple(f"s{i}" for i in range(80))
TRUTH = np.random.default_rng(0).integers(0, 2, (80, 3))


def scored(skill: float, seed: int) -> Items:
    noise = np.random.default_rng(seed).standard_normal(TRUTH.shape)
    return Items("m", "auroc", IDS, PATIENTS, ("a", "b", "c"), skill * TRUTH + noise, TRUTH)


def hits(values: np.ndarray) -> Items:
    return Items("m", "hit", IDS, PATIENTS, ("a", "b"), values)


def test_the_figure_is_the_mean_of_the_seeds():
    runs = {s: scored(1.0, s) for s in range(3)}
    found = mean_over_seeds(runs, num_resamples=50)
    expected = np.mean([mean_auroc(r.values, TRUTH).value for r in runs.values()])
    assert found.value == pytest.approx(expected)
    assert found.low < found.value < found.high


def test_values_without_truth_are_averaged_per_label_then_over_labels():
    values = np.full((80, 2), np.nan)
    values[:10, 0], values[10:, 1] = 1.0, 0.0
    assert mean_over_seeds({0: hits(values)}, num_resamples=20).value == pytest.approx(0.5)


def test_a_label_that_no_item_has_is_left_out():
    values = np.full((80, 2), np.nan)
    values[:, 0] = 1.0
    assert mean_over_seeds({0: hits(values)}, num_resamples=20).value == 1.0


def test_a_method_does_not_differ_from_itself():
    runs = {s: scored(1.0, s) for s in range(3)}
    same = difference_over_seeds(runs, runs, num_resamples=50)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_only_shared_seeds_are_compared_and_pairing_narrows_the_interval():
    runs = {s: scored(1.0, s) for s in range(3)}
    shifted = {s: Items("o", "auroc", IDS, PATIENTS, r.names, r.values + 0.4 * TRUTH, TRUTH)
               for s, r in runs.items()}  # fmt: skip
    paired = difference_over_seeds(shifted, runs | {9: scored(5.0, 9)})
    alone = mean_over_seeds(runs)
    assert paired.low > 0
    assert paired.high - paired.low < alone.high - alone.low


def test_seeds_that_disagree_widen_the_interval():
    agreeing = {s: scored(1.0, 0) for s in range(4)}
    disagreeing = {s: scored(2.0 * (s % 2), 0) for s in range(4)}
    one, other = (mean_over_seeds(runs) for runs in (agreeing, disagreeing))
    assert other.high - other.low > 1.5 * (one.high - one.low)


def coverage(num_seeds: int, of_seed: float, common: float, own: float) -> float:
    """Return how often the interval of a mean over seeds holds 0, by deviations of the figure."""
    rng = np.random.default_rng(num_seeds)
    ids, held = tuple(map(str, range(40))), 0
    for _ in range(300):
        values = common * rng.standard_normal(40) + own * rng.standard_normal((num_seeds, 40))
        values = values * np.sqrt(40) + of_seed * rng.standard_normal((num_seeds, 1))
        runs = {s: Items("m", "x", ids, ids, ("a",), one[:, None]) for s, one in enumerate(values)}
        found = mean_over_seeds(runs, num_resamples=100)
        held += found.low <= 0 <= found.high
    return held / 300


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
@pytest.mark.parametrize("deviations", [(1, 0.3, 0.3), (0.3, 1, 0.3), (0.3, 0.3, 1)])
def test_nineteen_of_twenty_intervals_hold_the_truth_with_few_seeds(num_seeds, deviations):
    assert coverage(num_seeds, *deviations) >= 0.92  # 0.95 less 2.4 deviations of 300 rounds


def test_one_seed_has_the_interval_over_patients():
    one = scored(1.0, 0)
    expected = auroc_intervals(one.values, TRUTH, PATIENTS, num_resamples=200).mean
    assert mean_over_seeds({7: one}, num_resamples=200) == expected


def test_seeds_that_agree_by_chance_leave_the_interval_over_patients():
    one = scored(1.0, 0)
    alone = mean_over_seeds({0: one})
    twice = mean_over_seeds({0: one, 1: one})
    assert (twice.low, twice.high) == pytest.approx((alone.low, alone.high))


def test_no_interval_leaves_the_range_of_its_figure():
    rng = np.random.default_rng(0)
    rare = {s: hits((rng.random((80, 2)) < 0.02 * s).astype(float)) for s in range(3)}
    found = mean_over_seeds(rare, num_resamples=100)
    assert 0 == found.low < found.value < found.high <= 1
    nothing = mean_over_seeds({0: hits(np.full((80, 2), np.nan))}, num_resamples=20)
    assert np.isnan((nothing.value, nothing.low, nothing.high)).all()
    sure = {s: scored(2.0 + s, s) for s in range(2)}
    assert mean_over_seeds(sure, num_resamples=100).high == 1


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="no run"):
        mean_over_seeds({})
    with pytest.raises(ValueError, match="none in common"):
        difference_over_seeds({0: scored(1, 0)}, {1: scored(1, 0)})
    fewer = Items("m", "auroc", IDS[:9], PATIENTS[:9], ("a",), TRUTH[:9, :1] * 1.0, TRUTH[:9, :1])
    with pytest.raises(ValueError, match="different items"):
        difference_over_seeds({0: scored(1, 0)}, {0: fewer})
    with pytest.raises(ValueError, match="different items"):
        mean_over_seeds({0: scored(1, 0), 1: fewer})
