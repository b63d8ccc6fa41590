"""How often do the intervals hold the truth, and how long does a test set take?

    python benchmarks/intervals.py [--rounds 2000] [--patients 120] [--prevalence 0.5]

Studies are simulated: two per patient that resemble each other, with a known AUROC, average
precision and mean, and two models of which the first is better. Coverage is the share of rounds in
which the 95 % interval held the truth; beside it what drawing studies, not patients, would give,
and what the 2.5th and 97.5th percentiles would, which are not moved outwards for few patients.
Means over two to five seeds are simulated apart, by the main cause of their scatter.
"""

import argparse
import math
import time

import numpy as np
from scipy.stats import norm
from sklearn.metrics import average_precision_score

from simcrop.evaluate.intervals import (
    Interval,
    auroc_differences,
    auroc_intervals,
    mean_intervals,
    resample_patients,
    summarise,
    weighted_auroc,
    weighted_average_precision,
)
from simcrop.evaluate.items import Items
from simcrop.evaluate.levels import Support
from simcrop.evaluate.scorecard import operating_points, score
from simcrop.evaluate.seeds import mean_over_seeds

PERSON, NOISE, WORSE = (
    math.sqrt(0.5),
    1.0,
    1.5,
)  # deviations: of a patient, of a study, of model two
NUM_RESAMPLES = 1000
PLAIN = [f"{name}, percentiles alone" for name in ("AUROC", "average precision", "mean")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--patients", type=int, default=120)
    parser.add_argument("--prevalence", type=float, default=0.5)
    options = parser.parse_args()
    held = coverage(options.rounds, options.patients, options.prevalence)
    for name, share in held.items():
        error = 1.96 * math.sqrt(share * (1 - share) / options.rounds)
        print(f"{name:44} {share:.3f} +- {error:.3f}")
    for name, share in coverage_over_seeds(options.rounds).items():
        error = 1.96 * math.sqrt(share * (1 - share) / options.rounds)
        print(f"{name:44} {share:.3f} +- {error:.3f}")
    rng = np.random.default_rng(0)
    labels = (rng.random((3009, 18)) < 0.2).astype(int)
    scores = norm.cdf(labels + rng.normal(size=labels.shape))
    patients = [f"p{i}" for i in rng.integers(1304, size=3009)]
    started = time.process_time()
    auroc_intervals(scores, labels, patients)
    print(f"AUROC of 3,009 x 18, 1,000 resamples: {time.process_time() - started:.1f} CPU s")
    started = time.process_time()
    score(scores, labels, patients, [f"{i}" for i in range(18)], operating_points(scores, labels))
    print(f"whole scorecard of the same: {time.process_time() - started:.1f} CPU s")


def coverage(rounds: int, patients: int, prevalence: float) -> dict[str, float]:
    rng = np.random.default_rng(1)
    ids = [str(i // 2) for i in range(2 * patients)]
    alone = [str(i) for i in range(2 * patients)]
    truth = norm.cdf(1 / math.sqrt(2 * (PERSON**2 + NOISE**2)))
    other_truth = norm.cdf(1 / math.sqrt(2 * (PERSON**2 + WORSE**2)))
    precision = true_average_precision(prevalence)
    held: dict[str, int] = {}

    def count(name: str, interval, true: float) -> None:
        held[name] = held.get(name, 0) + (interval.low <= true <= interval.high)

    for _ in range(rounds):
        labels = np.repeat(drawn_labels(rng, patients, prevalence), 2, axis=0)
        person = np.repeat(rng.normal(size=(patients, 3)), 2, axis=0) * PERSON
        scores, other = (
            labels + person + s * rng.normal(size=person.shape) for s in (NOISE, WORSE)
        )
        result = auroc_intervals(scores, labels, ids, num_resamples=NUM_RESAMPLES)
        count("AUROC of a label", result.per_label[0], truth)
        count("mean AUROC of three labels", result.mean, truth)
        paired = auroc_differences(scores, other, labels, ids, num_resamples=NUM_RESAMPLES).mean
        count("paired difference of mean AUROCs", paired, truth - other_truth)
        naive = auroc_intervals(scores, labels, alone, num_resamples=NUM_RESAMPLES)
        count("AUROC of a label, drawing studies (wrong)", naive.per_label[0], truth)
        weights = resample_patients(ids, num_resamples=NUM_RESAMPLES, seed=0)
        columns = [scores[:, 0], labels[:, 0]]
        value = np.array([average_precision_score(columns[1], columns[0])])
        spread = weighted_average_precision(*columns, weights)
        support = Support.of_classes(labels[:, :1], ids)
        count("average precision", summarise(value, spread[:, None], support).mean, precision)
        values = 0.3 + person[:, 0] + rng.normal(size=2 * patients)
        mean = mean_intervals(
            values, np.zeros(2 * patients, dtype=int), 1, ids, num_resamples=NUM_RESAMPLES
        )
        count("mean of a value", mean.mean, 0.3)
        plain = weighted_auroc(*columns, weights), spread, weights @ values / weights.sum(axis=1)
        for name, resampled, true in zip(PLAIN, plain, (truth, precision, 0.3), strict=True):
            low, high = np.nanpercentile(resampled, (2.5, 97.5))
            count(name, Interval(0.0, low, high, NUM_RESAMPLES), true)
    return {name: n / rounds for name, n in held.items()}


def coverage_over_seeds(rounds: int, num_patients: int = 100) -> dict[str, float]:
    """Return how often a mean over seeds held the truth, by the causes of scatter.

    Deviations are those of the figure: of a seed, of the patients in all seeds alike, and of the
    patients in one seed alone.
    """
    ids = tuple(map(str, range(num_patients)))
    causes = {
        "seeds": (1, 0.3, 0.3),
        "patients": (0.3, 1, 0.3),
        "patients in one seed": (0.3, 0.3, 1),
    }
    held = {}
    for cause, (of_seed, common, own) in causes.items():
        for num_seeds in (2, 3, 4, 5):
            rng, count = np.random.default_rng(num_seeds), 0
            for _ in range(rounds):
                values = common * rng.normal(size=num_patients)
                values = values + own * rng.normal(size=(num_seeds, num_patients))
                values *= math.sqrt(num_patients)
                values += of_seed * rng.normal(size=(num_seeds, 1))
                runs = {
                    seed: Items("", "value", ids, ids, ("label",), one[:, None])
                    for seed, one in enumerate(values)
                }
                found = mean_over_seeds(runs, num_resamples=200)
                count += found.low <= 0 <= found.high
            held[f"mean of {num_seeds} seeds, scatter by {cause}"] = count / rounds
    return held


def drawn_labels(rng: np.random.Generator, patients: int, prevalence: float) -> np.ndarray:
    """Return three labels per patient, each on at least two patients and missing on two."""
    labels = rng.random((patients, 3)) < prevalence
    counts = labels.sum(axis=0)
    if (np.minimum(counts, patients - counts) < 2).any():
        return drawn_labels(rng, patients, prevalence)
    return labels.astype(int)


def true_average_precision(prevalence: float) -> float:
    rng = np.random.default_rng(2)
    labels = (rng.random(400_000) < prevalence).astype(int)
    scores = labels + math.hypot(PERSON, NOISE) * rng.normal(size=labels.size)
    return float(average_precision_score(labels, scores))


if __name__ == "__main__":
    main()
