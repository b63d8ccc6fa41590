"""Probe features of any origin: a linear classifier, with intervals over patients.

    python examples/03_probe_features.py

The features are random numbers with a little signal. Put your own in their place, from
`simcrop embed` or from another encoder: the statistics do not know where they come from.
"""

import numpy as np

from simcrop.data.splits import split_patients
from simcrop.evaluate.classification import fit_linear_probe
from simcrop.evaluate.intervals import auroc_differences, auroc_intervals

LABELS = ("Pleural effusion", "Lung nodule")


def main() -> None:
    rng = np.random.default_rng(0)
    num_patients, num_volumes, dim = 200, 500, 32

    # Several volumes per patient, as in reality: they must not end up on both sides of a split.
    patients = [f"patient_{i:03d}" for i in rng.integers(num_patients, size=num_volumes)]
    labels = (rng.random((num_volumes, len(LABELS))) < 0.3).astype(int)
    strong = features_with_signal(labels, 1.0, dim, rng)
    weak = features_with_signal(labels, 0.3, dim, rng)

    part = split_patients(patients, val_fraction=0.2, test_fraction=0.3, seed=0)
    split = np.array([part[patient] for patient in patients])
    train, val, test = (split == name for name in ("train", "val", "test"))
    test_patients = [patients[i] for i in np.flatnonzero(test)]

    scores = {}
    for name, features in {"strong": strong, "weak": weak}.items():
        # The strength of the penalty is chosen on validation patients. Test patients see no
        # choice, so their figures are not flattered by one.
        probe = fit_linear_probe(features[train], labels[train], features[val], labels[val])
        scores[name] = probe.scores(features[test])
        result = auroc_intervals(scores[name], labels[test], test_patients)
        for label, one in zip(LABELS, result.per_label, strict=True):
            print(f"{name:6} {label:16} {one.value:.3f} [{one.low:.3f}, {one.high:.3f}]")

    # Two encoders on the same patients: compare them pairwise. Their intervals may overlap while
    # the difference is clear, since both meet the same hard patients.
    difference = auroc_differences(scores["strong"], scores["weak"], labels[test], test_patients)
    mean = difference.mean
    print(f"difference of the means {mean.value:+.3f} [{mean.low:+.3f}, {mean.high:+.3f}]")


def features_with_signal(
    labels: np.ndarray, strength: float, dim: int, rng: np.random.Generator
) -> np.ndarray:
    directions = rng.normal(size=(labels.shape[1], dim)) / np.sqrt(dim)
    noise = rng.normal(size=(len(labels), dim))
    return 3 * strength * labels @ directions + noise


if __name__ == "__main__":
    main()
