"""Bands and curves of classifiers, against scikit-learn and by drawing them."""

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_auc_score

from simcrop.evaluate.classification_figures import (
    EfficiencyPoint,
    label_efficiency,
    precision_recall_curves,
    reliability_diagrams,
    roc_curves,
)
from simcrop.evaluate.curves import precision_band, roc_band
from simcrop.evaluate.intervals import Interval, resample_patients

GRID = np.linspace(0, 1, 2001)


def studies(num_values, n=150):
    rng = np.random.default_rng(0)
    labels = (rng.random(n) < 0.4).astype(int)
    scores = np.round((rng.normal(size=n) + labels) * num_values) / num_values
    return scores, labels, [f"p{i // 2}" for i in range(n)]


@pytest.mark.parametrize("num_values", [1, 1000])
def test_a_band_of_one_resample_is_the_curve_of_sklearn(num_values):
    scores, labels, _ = studies(num_values)
    once = np.ones((1, len(labels)))
    low, high = roc_band(scores, labels, once, GRID)
    np.testing.assert_array_equal(low, high)
    assert np.trapezoid(low, GRID) == pytest.approx(roc_auc_score(labels, scores), abs=1e-3)
    band = precision_band(scores, labels, once, GRID)[0]
    precision, recall, _ = precision_recall_curve(labels, scores)
    for value, at in zip(band[1:], GRID[1:], strict=True):
        assert value == pytest.approx(precision[recall >= at - 1e-12][-1])


def test_bands_hold_the_curve_and_widen_with_fewer_patients():
    scores, labels, patients = studies(1000)
    weights = resample_patients(patients, num_resamples=200, seed=0)
    once = np.ones((1, len(labels)))
    for band in (roc_band, precision_band):
        (value, _), (low, high) = (band(scores, labels, w, GRID[200:1800]) for w in (once, weights))
        assert ((low <= value) & (value <= high)).mean() > 0.95
        few = slice(0, 40)
        fewer = resample_patients(patients[few], num_resamples=200, seed=0)
        a, b = band(scores[few], labels[few], fewer, GRID[200:1800])
        assert (b - a).mean() > 1.5 * (high - low).mean()


def test_without_a_class_there_is_no_band():
    scores, labels, _ = studies(1000)
    once = np.ones((1, len(labels)))
    assert np.isnan(roc_band(scores, labels * 0 + 1, once, GRID)).all()
    assert np.isnan(precision_band(scores, labels * 0, once, GRID)).all()


@pytest.mark.parametrize("num_labels", [1, 9])
def test_every_label_has_a_panel_and_one_class_is_said(num_labels):
    rng = np.random.default_rng(1)
    scores, labels = rng.random((40, num_labels)), rng.integers(2, size=(40, num_labels))
    labels[:, -1] = 0
    names, patients = [f"label {i}" for i in range(num_labels)], [str(i) for i in range(40)]
    for figure in (
        roc_curves(scores, labels, names, patients),
        precision_recall_curves(scores, labels, names, patients),
        reliability_diagrams(scores, labels, names, np.full(num_labels, 2.0)),
    ):
        figure.canvas.draw()
        titles = [axes.get_title() for axes in figure.axes]
        assert [title.split("\n")[0] for title in titles] == names
    assert (
        "no positive"
        in precision_recall_curves(scores, labels, names, patients).axes[num_labels - 1].get_title()
    )


def test_label_efficiency_has_a_line_per_encoder_and_a_dash_per_seed():
    points = [
        EfficiencyPoint(n, Interval(v, v - 0.1, v + 0.1, 9), (v - 0.02, v + 0.02))
        for n, v in ((100, 0.8), (10, 0.6))
    ]
    figure = label_efficiency({"pre-trained": points, "untrained": points[:1]})
    figure.canvas.draw()
    axes = figure.axes[0]
    lines = [line for line in axes.lines if line.get_label() in {"pre-trained", "untrained"}]
    assert list(lines[0].get_xdata()) == [10, 100]
    assert sum(line.get_marker() == "_" for line in axes.lines) == 3
