import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcrop.data.splits import split_patients, take_fraction

PATIENTS = st.lists(st.text("abc123", min_size=1, max_size=4), unique=True, min_size=1)


@given(patients=PATIENTS, seed=st.integers(0, 99), data=st.data())
def test_splits_cover_every_patient_once_whatever_the_order(patients, seed, data):
    split = split_patients(patients, 0.1, 0.2, seed)
    assert set(split) == set(patients)
    counts = {name: list(split.values()).count(name) for name in ("train", "val", "test")}
    assert counts["test"] == round(0.2 * len(patients))
    assert counts["val"] == round(0.1 * len(patients))
    assert sum(counts.values()) == len(patients)
    assert split_patients(data.draw(st.permutations(patients)), 0.1, 0.2, seed) == split


@given(patients=PATIENTS, seed=st.integers(0, 99), data=st.data())
def test_fractions_are_nested_whatever_the_order(patients, seed, data):
    shares = [set(take_fraction(patients, fraction, seed)) for fraction in (0.01, 0.1, 0.5, 1.0)]
    assert all(small <= large for small, large in itertools.pairwise(shares))
    assert shares[-1] == set(patients)
    assert len(shares[0]) >= 1
    shuffled = data.draw(st.permutations(patients))
    assert take_fraction(shuffled, 0.5, seed) == sorted(shares[2])


def test_repeated_patients_count_once_and_seeds_differ():
    patients = [f"p{i}" for i in range(50)]
    assert split_patients(patients * 3, 0.1, 0.2, 1) == split_patients(patients, 0.1, 0.2, 1)
    assert split_patients(patients, seed=1) != split_patients(patients, seed=2)
    assert len(take_fraction(patients * 2, 0.1)) == 5
    assert take_fraction([], 0.5) == []


def test_impossible_fractions_are_refused():
    for val, test in ((-0.1, 0.2), (0.5, 0.5)):
        with pytest.raises(ValueError, match="less than 1"):
            split_patients(["a"], val, test)
    for fraction in (0.0, 1.5):
        with pytest.raises(ValueError, match=r"\(0, 1\]"):
            take_fraction(["a"], fraction)
