"""Nothing that selects can read a test label, and a fraction is one of patients."""

import gc
import inspect
import types
from dataclasses import replace

import numpy as np
import pytest
from development import development, held_out, names, part

from simcrop.evaluate import logistic, nearest
from simcrop.evaluate.held_out import Development, FixedHead, HeldOut, fix_head
from simcrop.train import gradient_head

SELECTING = (
    fix_head,
    logistic.fit_logistic,
    nearest.fit_nearest,
    gradient_head.fit_paper_head,
    gradient_head.fit_attentive,
)


def reachable(start) -> list[object]:
    """Everything that can be reached from an object without going through modules and classes."""
    found, seen, queue = [], set(), [start]
    while queue:
        one = queue.pop()
        if id(one) in seen or isinstance(one, types.ModuleType | type):
            continue
        seen.add(id(one))
        found.append(one)
        queue += gc.get_referents(one.__dict__ if hasattr(one, "__dict__") else one)
    return found


@pytest.mark.parametrize("select", SELECTING)
def test_what_selects_takes_a_development_and_no_held_out_set(select):
    annotations = inspect.get_annotations(inspect.unwrap(select))
    assert annotations["development"] is Development
    assert annotations["return"] is FixedHead
    assert not {HeldOut, "HeldOut"} & set(annotations.values())


def test_no_test_label_can_be_reached_from_what_a_head_is_made_of():
    tested = part(50, 2, seed=2, name="h")
    sealed = HeldOut(tested, names(2))
    for one in (development(2), logistic.fit_logistic(development(2))):
        assert not any(found is tested.labels for found in reachable(one))
    assert "labels" not in vars(sealed)
    assert not any(isinstance(value, np.ndarray) for value in vars(sealed).values())


def test_only_a_fixed_head_of_the_same_labels_opens_the_test_set():
    sealed, head = held_out(2), logistic.fit_logistic(development(2))
    opened = sealed.open(head)
    assert opened.labels.shape == opened.scores.shape == (200, 2)
    assert opened.volume_ids == sealed.volume_ids
    with pytest.raises((TypeError, ValueError), match="FixedHead"):
        sealed.open(head.predict)
    with pytest.raises(ValueError, match="expected one of"):
        sealed.open(replace(head, label_names=("other", "label 1")))


def test_test_labels_change_no_head():
    tested = part(200, 2, seed=2, name="h")
    flipped = replace(tested, labels=1 - tested.labels)
    opened = [
        HeldOut(one, names(2)).open(logistic.fit_logistic(development(2)))
        for one in (tested, flipped)
    ]
    np.testing.assert_array_equal(opened[0].scores, opened[1].scores)
    np.testing.assert_array_equal(opened[0].labels, 1 - opened[1].labels)
    np.testing.assert_array_equal(*(one.head.points.thresholds for one in opened))


def test_a_fraction_is_of_patients_and_leaves_validation_alone():
    whole = development()
    parts = [whole.of_fraction(fraction, 3) for fraction in (1.0, 0.4, 0.01)]
    patients = [set(one.train.patient_ids) for one in parts]
    assert patients[2] < patients[1] < patients[0]
    assert [len(p) for p in patients] == [150, 60, 2]
    assert [len(one.train) for one in parts] == [300, 120, 4]  # both volumes of every patient
    assert all(one.val is whole.val for one in parts)
    first = parts[1].train
    rows = [whole.train.volume_ids.index(volume) for volume in first.volume_ids]
    np.testing.assert_array_equal(first.labels, whole.train.labels[rows])
    np.testing.assert_array_equal(first.inputs.vectors, whole.train.inputs.vectors[rows])


def constant(value):
    return lambda inputs: np.full((len(inputs), 3), value) + inputs.vectors[:, :1] * 0


def test_the_first_of_equals_and_the_default_where_validation_cannot_say():
    whole = development()
    three = {name: constant(0.5) for name in "abc"}
    assert fix_head(whole, three, default="c", settings={}).choice == "a"
    silent = replace(whole, val=replace(whole.val, labels=np.zeros_like(whole.val.labels)))
    head = fix_head(silent, three, default="c", settings={})
    assert head.choice == "c"
    assert head.points.thresholds.tolist() == [0.5] * 3
    empty = replace(whole, val=whole.val.take(np.zeros(0, dtype=np.int64)))
    head = fix_head(empty, three, default="b", settings={})
    assert head.choice == "b"
    assert head.points.temperatures.tolist() == [1.0] * 3
