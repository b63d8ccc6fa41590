"""Heads without a gradient, against scikit-learn, and on what has no ordinary answer."""

import time
from dataclasses import replace

import numpy as np
import pytest
from development import development, held_out, part
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import NearestNeighbors

from simcrop.evaluate.classification import mean_auroc
from simcrop.evaluate.held_out import Development, Inputs, Part
from simcrop.evaluate.logistic import fit_logistic
from simcrop.evaluate.nearest import TEMPERATURE, fit_nearest


def standardised(whole: Development) -> tuple[np.ndarray, np.ndarray]:
    vectors = whole.train.inputs.vectors
    mean, scale = vectors.mean(axis=0), vectors.std(axis=0)
    return (vectors - mean) / scale, (whole.val.inputs.vectors - mean) / scale


def test_against_sklearn_one_regression_per_label():
    whole = development(2)
    head = fit_logistic(whole, c_grid=[0.3])
    train, val = standardised(whole)
    for i in range(2):
        model = LogisticRegression(C=0.3).fit(train, whole.train.labels[:, i])
        expected = model.predict_proba(val)[:, 1]
        np.testing.assert_allclose(head.predict(whole.val.inputs)[:, i], expected, atol=1e-9)


@pytest.mark.parametrize("num_present", [4, 3, 2])
def test_against_sklearn_one_softmax_over_classes(num_present):
    whole = development(4, exclusive=True)
    rows = np.flatnonzero(whole.train.labels[:, :num_present].any(axis=1))
    whole = replace(whole, train=whole.train.take(rows))
    head = fit_logistic(whole, c_grid=[0.3])
    train, val = standardised(whole)
    model = LogisticRegression(C=0.3).fit(train, whole.train.labels.argmax(axis=1))
    found = head.predict(whole.val.inputs)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    known = found[:, :num_present] / found[:, :num_present].sum(axis=1, keepdims=True)
    np.testing.assert_allclose(known, model.predict_proba(val), atol=1e-6)
    assert found[:, num_present:].max(initial=0) < 0.1


@pytest.mark.parametrize("fit", [fit_logistic, fit_nearest])
@pytest.mark.parametrize("exclusive", [False, True])
def test_what_is_separable_is_separated_and_validation_has_chosen(fit, exclusive):
    head = fit(development(3, exclusive=exclusive, train=600))
    opened = held_out(3, exclusive=exclusive).open(head)
    assert mean_auroc(opened.scores, opened.labels).value > 0.75
    assert ((opened.scores >= 0) & (opened.scores <= 1)).all()
    if exclusive:
        np.testing.assert_allclose(opened.scores.sum(axis=1), 1)
    best = max(one.val_score for one in head.candidates.values())
    assert head.candidates[head.choice].val_score == best


def test_scale_and_offset_of_features_do_not_matter():
    whole = development(1)
    other = Development(
        *(replace(p, inputs=Inputs(100 * p.inputs.vectors - 7)) for p in (whole.train, whole.val)),
        whole.label_names,
    )
    one, two = (fit_logistic(d).predict(d.val.inputs) for d in (whole, other))
    np.testing.assert_allclose(one, two, atol=1e-6)


@pytest.mark.parametrize("fit", [fit_logistic, fit_nearest])
def test_constant_features_labels_of_one_class_and_a_single_volume_are_taken(fit):
    train = part(60, 3)
    train.inputs.vectors[:, 4] = 2.5
    train.labels[:, 1], train.labels[:, 2] = 0, 1
    whole = Development(train, part(40, 3, seed=1), ("a", "b", "c"))
    scores = fit(whole).predict(whole.val.inputs)
    assert np.isfinite(scores).all()
    assert np.ptp(scores[:, 1]) == pytest.approx(0)
    assert scores[0, 1] < 0.05 < 0.95 < scores[0, 2]
    single = fit(replace(whole, train=train.take(np.array([0]))))
    assert np.isfinite(single.predict(whole.val.inputs)).all()


def test_against_sklearn_nearest_neighbours():
    whole = development(2)
    train, val = (p.inputs.vectors - whole.train.inputs.vectors.mean(axis=0)
                  for p in (whole.train, whole.val))  # fmt: skip
    model = NearestNeighbors(n_neighbors=7, metric="cosine").fit(train)
    distance, rows = model.kneighbors(val)
    weights = np.exp((1 - distance) / TEMPERATURE)[:, :, None]
    expected = (weights * whole.train.labels[rows]).sum(axis=1) / weights.sum(axis=1)
    head = fit_nearest(whole, k_grid=[7])
    np.testing.assert_allclose(head.predict(whole.val.inputs), expected, atol=1e-9)


def test_a_regression_of_ten_labels_is_fast():
    rng = np.random.default_rng(0)
    vectors, labels = rng.normal(size=(2000, 64)), rng.integers(2, size=(2000, 10))
    ids = tuple(map(str, range(2000)))
    train = Part(Inputs(vectors), labels, ids, ids)
    whole = Development(train, train.take(np.arange(300)), tuple("abcdefghij"))
    start = time.process_time()
    fit_logistic(whole)
    assert time.process_time() - start < 6
