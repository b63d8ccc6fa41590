"""The evidence is in the voxels' place: a histogram tells little, the true mask nearly all.

The full measurement, with a supervised network, is `benchmarks/phantom_difficulty.py`.
"""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from simcrop.data.phantom import LABEL_NAMES, Phantom, make_phantom

NUMBER = 260
EDGES_HU = np.concatenate([[-1100], np.linspace(-1000, 200, 25), np.linspace(300, 1300, 6), [3100]])


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    """Phantoms on a coarser grid, where a histogram tells as much and drawing takes less."""
    return [
        make_phantom(7, i, shape=(30, 24, 18), spacing_mm=(11.0, 11.0, 16.0)) for i in range(NUMBER)
    ]


@pytest.fixture(scope="module")
def labels(phantoms: list[Phantom]) -> np.ndarray:
    return np.array([[n in {f.label for f in p.findings} for n in LABEL_NAMES] for p in phantoms])


def mean_auroc(features: np.ndarray, labels: np.ndarray) -> float:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    scores = [
        cross_val_predict(model, features, column, cv=4, method="predict_proba")[:, 1]
        for column in labels.T
    ]
    return float(np.mean([roc_auc_score(c, s) for c, s in zip(labels.T, scores, strict=True)]))


def test_mean_intensity_does_not_tell_findings(phantoms, labels) -> None:
    means = np.array([[p.hu.mean()] for p in phantoms])
    assert mean_auroc(means, labels) < 0.6


def test_an_intensity_histogram_hardly_tells_findings(phantoms, labels) -> None:
    bins = np.array([np.histogram(p.hu, EDGES_HU)[0] / p.hu.size for p in phantoms])
    assert mean_auroc(bins, labels) < 0.65


@pytest.mark.parametrize("label", LABEL_NAMES)
def test_the_true_place_tells_the_finding(phantoms: list[Phantom], label: str) -> None:
    """Voxels of a mask differ from the same voxels of patients without the finding."""
    without = [p for p in phantoms if label not in {f.label for f in p.findings}][:60]
    ranks = []
    for phantom in phantoms:
        for finding in phantom.findings:
            if finding.label == label and finding.mask.any():
                others = np.array([p.hu[finding.mask].mean() for p in without])
                ranks.append((phantom.hu[finding.mask].mean() > others).mean())
    certainty = np.mean(ranks) if label != "Emphysema" else 1 - np.mean(ranks)
    assert certainty > 0.7
