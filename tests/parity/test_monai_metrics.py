"""MONAI's metrics and scipy's distance transform on the same labels."""

import numpy as np
import pytest
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_dice,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from monai.networks.utils import one_hot
from scipy import ndimage

from simcrop.evaluate.segmentation import MEASURES, score_case

pytestmark = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")

SPACING = (0.8, 0.8, 2.5)
NUM_CLASSES = 4
TOLERANCE_MM = 2.0


def blobs(seed: int) -> np.ndarray:
    """Labels of smooth shapes that touch each other and the border."""
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.normal(size=(24, 20, 16)), 3) for _ in range(NUM_CLASSES)]
    return np.argmax(fields, axis=0).astype(np.uint8)


@pytest.fixture(scope="module")
def labels():
    reference = blobs(0)
    predicted = np.where(
        np.random.default_rng(1).random(reference.shape) < 0.1, blobs(2), reference
    )
    return predicted, reference


def ours(labels, measure: str) -> list[float]:
    case = score_case(
        *labels, SPACING, NUM_CLASSES, case_id="a", patient_id="p", tolerance_mm=TOLERANCE_MM
    )
    return case.values(measure)


@pytest.mark.parametrize("measure", MEASURES)
def test_against_monai_metrics(labels, measure):
    encoded = [one_hot(torch.from_numpy(one)[None, None].long(), NUM_CLASSES) for one in labels]
    options = {"include_background": False, "spacing": SPACING}
    theirs = {
        "dice": lambda: compute_dice(*encoded, include_background=False),
        "hd95_mm": lambda: compute_hausdorff_distance(*encoded, percentile=95, **options),
        "surface_distance_mm": lambda: compute_average_surface_distance(
            *encoded, symmetric=True, **options
        ),
        "surface_dice": lambda: compute_surface_dice(
            *encoded, class_thresholds=[TOLERANCE_MM] * (NUM_CLASSES - 1), **options
        ),
    }[measure]()
    np.testing.assert_allclose(ours(labels, measure), theirs[0].numpy(), rtol=1e-5, atol=1e-5)


def test_against_scipy_distances(labels):
    """The surface is what an erosion by one voxel takes away."""
    for number, (hd95, mean) in enumerate(
        zip(ours(labels, "hd95_mm"), ours(labels, "surface_distance_mm"), strict=True), start=1
    ):
        surfaces = [(mask := labels[i] == number) & ~ndimage.binary_erosion(mask) for i in range(2)]
        away = [ndimage.distance_transform_edt(~s, sampling=SPACING) for s in surfaces]
        there, back = away[1][surfaces[0]], away[0][surfaces[1]]
        assert hd95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)))
        assert mean == pytest.approx(np.concatenate([there, back]).mean())
