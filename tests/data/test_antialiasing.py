import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from synthetic_ct import LANDMARK_MM, blob, center_of_ball, empty_ras, oblique, paint

from simcrop.data.antialiasing import average
from simcrop.data.contract import Contract
from simcrop.data.preprocessing import resample
from simcrop.data.volume import affine_of, array_of


def antialiased(*spacing_mm: float) -> Contract:
    return Contract(spacing_mm=spacing_mm, interpolation="antialiased")


def noisy(image: sitk.Image) -> sitk.Image:
    noise = np.random.default_rng(0).integers(-900, 900, image.GetSize())
    return paint(image, lambda points: noise)


def slow_average(line: np.ndarray, old_mm: float, num_new: int, new_mm: float) -> np.ndarray:
    """One axis, voxel by voxel: the mean weighted by a triangle around each new centre."""
    result = []
    for new in range(num_new):
        total = weights = 0.0
        for old, value in enumerate(line):
            distance = abs((old + 0.5) * old_mm - (new + 0.5) * new_mm)
            weight = max(0.0, 1 - distance / new_mm)
            total, weights = total + weight * value, weights + weight
        result.append(total / weights)
    return np.array(result)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("ratio", [(1.0, 3.0), (0.7, 1.5), (1.0, 1.37)])
def test_against_the_definition_along_each_axis(axis, ratio):
    old_mm, new_mm = ratio
    shape, new_shape, spacing, new_spacing = [9, 9, 9], [9, 9, 9], [1.0] * 3, [1.0] * 3
    shape[axis], spacing[axis], new_spacing[axis] = 150, old_mm, new_mm
    new_shape[axis] = int(150 * old_mm / new_mm)
    voxels = np.random.default_rng(axis).integers(-1000, 1000, shape).astype(np.int16)
    found = average(voxels, spacing, new_shape, new_spacing)
    expected = np.apply_along_axis(
        slow_average, axis, voxels, old_mm, num_new=new_shape[axis], new_mm=new_mm
    )
    assert np.abs(found - expected).max() <= 0.501
    assert found.dtype == np.int16


def test_onto_finer_voxels_it_is_linear_interpolation(ct_image):
    image = noisy(ct_image)
    finer = (1.1, 2.3, 2.9)
    found, linear = (resample(image, c) for c in (antialiased(*finer), Contract(spacing_mm=finer)))
    assert np.abs(array_of(found).astype(int) - array_of(linear)).max() <= 1
    np.testing.assert_array_equal(affine_of(found), affine_of(linear))


@pytest.mark.parametrize("orientation", ["LPS", "LAS", "SPR", "AIL"])
def test_the_order_of_the_axes_in_the_file_does_not_matter(ct_image, orientation):
    contract = antialiased(4.0, 5.0, 7.0)
    found = resample(sitk.DICOMOrient(noisy(ct_image), orientation), contract)
    expected = resample(noisy(ct_image), contract)
    np.testing.assert_array_equal(array_of(found), array_of(expected))
    np.testing.assert_allclose(affine_of(found), affine_of(expected), atol=1e-9)


@pytest.mark.parametrize("degrees", [0.0, 3.0, 25.0])
def test_a_landmark_keeps_its_place_upright_and_oblique(degrees):
    image = paint(oblique(degrees, (60, 60, 60), (1.5, 1.5, 1.5)), blob)
    found = resample(image, antialiased(3.0, 3.0, 4.0))
    hu, affine = array_of(found), affine_of(found)
    np.testing.assert_allclose(center_of_ball(hu, affine), LANDMARK_MM, atol=0.3)
    np.testing.assert_allclose(affine[:3, :3], np.diag([3.0, 3.0, 4.0]), atol=1e-9)


def test_noise_falls_and_the_mean_stays():
    image = noisy(empty_ras((60, 60, 60), (1.0, 1.0, 1.0)))
    averaged, sampled = (
        array_of(resample(image, c))
        for c in (antialiased(1.0, 1.0, 3.0), Contract(spacing_mm=(1.0, 1.0, 3.0)))
    )
    # Weights 1, 2, 3, 2, 1 of 9: independent noise falls to sqrt(19) / 9 = 0.48.
    assert averaged.std() / sampled.std() == pytest.approx(np.sqrt(19) / 9, rel=0.03)
    assert averaged.mean() == pytest.approx(array_of(image).mean(), abs=3)
