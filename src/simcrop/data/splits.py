"""Patient-level splits and fractions of a training set.

Always by patient: studies of one patient look alike, and reconstructions of one study are nearly
the same voxels (method.md D-12). The result depends on the set of patients and the seed, not on
the order in which they are listed.
"""

import hashlib
from collections.abc import Iterable

import numpy as np


def split_patients(
    patient_ids: Iterable[str],
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> dict[str, str]:
    """Return `train`, `val` or `test` for every patient; counts are the fractions, rounded.

    Raises:
        ValueError: if the fractions are negative or leave nothing to train on.
    """
    if min(val_fraction, test_fraction) < 0 or val_fraction + test_fraction >= 1:
        raise ValueError(
            f"val_fraction {val_fraction} and test_fraction {test_fraction}; expected two shares "
            "from 0 that add up to less than 1"
        )
    shuffled = _shuffled(patient_ids, seed)
    num_test = round(test_fraction * len(shuffled))
    num_val = round(val_fraction * len(shuffled))
    names = ["test"] * num_test + ["val"] * num_val
    names += ["train"] * (len(shuffled) - len(names))
    return dict(sorted(zip(shuffled, names, strict=True)))


def take_fraction(patient_ids: Iterable[str], fraction: float, seed: int = 0) -> list[str]:
    """Return a share of the patients, sorted; nested: those of 1 % are among those of 10 %.

    At least one patient is returned, unless there is none.

    Raises:
        ValueError: if the fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction {fraction}; expected a share in (0, 1]")
    shuffled = _shuffled(patient_ids, seed)
    return sorted(shuffled[: max(round(fraction * len(shuffled)), 1)])


def hash_of(names: Iterable[str]) -> str:
    """Return a short hash of a set of studies or volumes, so that a figure names its set."""
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()[:16]


def _shuffled(patient_ids: Iterable[str], seed: int) -> list[str]:
    distinct = sorted(set(patient_ids))
    return [distinct[i] for i in np.random.default_rng(seed).permutation(len(distinct))]
