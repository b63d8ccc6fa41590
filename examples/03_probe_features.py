"""Probe features of any origin: a linear classifier, with intervals over patients.

    python examples/03_probe_features.py

The features are random numbers with a little signal. Put your own in their place, from
`simcrop embed` or from another encoder: the statistics do not know where they come from.
"""

import numpy as np

from simcrop.data.splits import split_patients
from simcrop.evaluate.held_out import Development, HeldOut, Inputs, Part
from simcrop.evaluate.intervals import auroc_differences, auroc_intervals
from simcrop.evaluate.logistic import fit_logistic

LABELS = ("Pleural effusion", "Lung nodule")


def main() -> None:
    rng = np.random.default_rng(0)
    num_patients, num_volumes, dim = 200, 500, 32

    # Several volumes per patient, as in reality: they must not end up on both sides of a split.
    patients = [f"patient_{i:03d}" for i in rng.integers(num_patients, size=num_volumes)]
    labels = (rng.random((num_volumes, len(LABELS))) < 0.3).astype(int)
    strong = features_with_signal(labels, 1.0, dim, rng)
    weak = features_with_signal(labels, 0.3, dim, rng)

    split_of = split_patients(patients, val_fraction=0.2, test_fraction=0.3, seed=0)
    volumes = [f"volume_{i:03d}" for i in range(num_volumes)]

    opened = {}
    for name, features in {"strong": strong, "weak": weak}.items():
        whole = Part(Inputs(features), labels, tuple(volumes), tuple(patients))
        parts = {
            split: whole.take(np.array([i for i in range(num_volumes)
                                        if split_of[patients[i]] == split]))
            for split in ("train", "val", "test")
        }  # fmt: skip
        # A head is made of a development, which holds no test volume. Test labels are shown to a
        # head about which nothing is left to choose, so no figure is flattered by a choice.
        head = fit_logistic(Development(parts["train"], parts["val"], LABELS))
        opened[name] = HeldOut(parts["test"], LABELS).open(head)
        one = opened[name]
        result = auroc_intervals(one.scores, one.labels, one.patient_ids)
        for label, figure in zip(LABELS, result.per_label, strict=True):
            print(f"{name:6} {label:16} {figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]")

    # Two encoders on the same patients: compare them pairwise. Their intervals may overlap while
    # the difference is clear, since both meet the same hard patients.
    good, poor = opened["strong"], opened["weak"]
    difference = auroc_differences(good.scores, poor.scores, good.labels, good.patient_ids)
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
