import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates
from synthetic_ct import LANDMARK_MM, blob, center_of_ball, empty_ras, oblique, paint

from simcrop.data.contract import Contract
from simcrop.data.preprocessing import (
    center_crop,
    crop_at,
    normalise,
    prepare_volume,
    resample,
    resample_mask,
)
from simcrop.data.volume import affine_of, array_of

SMALL = Contract(spacing_mm=(3.0, 3.0, 4.0), crop_shape=(24, 24, 16), patch_shape=(4, 4, 4))


def numbered(shape) -> np.ndarray:
    """Every voxel has its own value."""
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


# --- resampling


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAS", "SPR", "AIL", "IRP"])
def test_a_landmark_keeps_its_place_through_the_whole_pipeline(tmp_path, orientation):
    path = tmp_path / "ct.nii.gz"
    image = sitk.DICOMOrient(paint(empty_ras(), blob), orientation)
    sitk.WriteImage(image, str(path))
    volume = prepare_volume(path, SMALL)
    crop = center_crop(volume.hu, volume.affine, SMALL)
    for hu, affine in ((volume.hu, volume.affine), (crop.voxels, crop.affine)):
        np.testing.assert_allclose(center_of_ball(hu, affine), LANDMARK_MM, atol=0.2)
    assert volume.spacing_mm == SMALL.spacing_mm


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    shape=st.tuples(*[st.integers(26, 40)] * 3),
    spacing=st.tuples(*[st.floats(1.9, 3.4)] * 3),
    new=st.tuples(*[st.floats(1.5, 5.0)] * 3),
    degrees=st.integers(-300, 300).map(lambda tenths: tenths / 10),
)
def test_a_landmark_keeps_its_place_at_any_spacing_and_angle(shape, spacing, new, degrees):
    contract = Contract(spacing_mm=new)
    resampled = resample(paint(oblique(degrees, shape, spacing), blob), contract)
    found = center_of_ball(array_of(resampled), affine_of(resampled))
    assert (np.abs(found - LANDMARK_MM) < np.array(new) / 2).all()
    np.testing.assert_allclose(affine_of(resampled)[:3, :3], np.diag(new), atol=1e-9)


@pytest.mark.parametrize("new", [(3.0, 3.0, 4.0), (1.1, 2.3, 3.7), (2.5, 2.5, 3.0)])
def test_against_scipy_linear_sampling_of_the_documented_grid(ct_image, new):
    noise = np.random.default_rng(1).integers(-900, 900, array_of(ct_image).shape)
    image = paint(ct_image, lambda points: noise)
    old, shape = np.array(image.GetSpacing()), np.array(image.GetSize())
    resampled = resample(image, Contract(spacing_mm=new))
    expected_shape = np.floor(shape * old / new).astype(int)
    assert resampled.GetSize() == tuple(expected_shape)
    # Outer corners coincide: centre i of the new grid lies at (i + 0.5) new voxels from there.
    axes = [
        (np.arange(n) + 0.5) * b / a - 0.5 for n, a, b in zip(expected_shape, old, new, strict=True)
    ]
    points = np.meshgrid(*axes, indexing="ij")
    expected = map_coordinates(noise.astype(float), points, order=1, mode="nearest")
    assert np.abs(array_of(resampled) - expected).max() <= 0.501
    assert array_of(resampled).dtype == np.int16


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SPR"])
def test_a_volume_already_on_the_grid_keeps_its_voxels(ct_image, orientation):
    contract = Contract(spacing_mm=(2.5, 2.5, 3.0))
    resampled = resample(sitk.DICOMOrient(ct_image, orientation), contract)
    np.testing.assert_array_equal(array_of(resampled), array_of(ct_image))
    np.testing.assert_allclose(affine_of(resampled), affine_of(ct_image), atol=1e-9)


@pytest.mark.parametrize(("degrees", "is_resampled"), [(1e-5, False), (0.004, False), (0.05, True)])
def test_a_hair_of_tilt_is_noise_and_more_is_not(degrees, is_resampled):
    image = paint(oblique(degrees, (30, 30, 30), (2.0, 2.0, 2.0)), blob)
    resampled = resample(image, Contract(spacing_mm=(2.0, 2.0, 2.0)))
    np.testing.assert_array_equal(affine_of(resampled)[:3, :3], np.diag([2.0, 2.0, 2.0]))
    assert is_resampled != np.array_equal(array_of(resampled), array_of(image))


def test_an_oblique_volume_is_covered_to_its_corners():
    image = paint(oblique(25.0), lambda points: np.zeros(points.shape[:-1]))
    resampled = resample(image, Contract(spacing_mm=(2.5, 2.5, 2.5)))
    hu = array_of(resampled)
    assert set(np.unique(hu)) == {-1024, 0}  # -1024 between the volume and its box
    volume_mm3 = np.prod(image.GetSize()) * 2.5**3
    assert (hu == 0).sum() * 2.5**3 == pytest.approx(volume_mm3, rel=0.02)


def test_masks_follow_the_volume_by_nearest_voxel(ct_image):
    mask = sitk.Cast(ct_image > 0, sitk.sitkUInt8) * 7
    reference = resample(ct_image, SMALL)
    for orientation in ("RAS", "LPI"):
        on_grid = array_of(resample_mask(sitk.DICOMOrient(mask, orientation), reference))
        assert set(np.unique(on_grid)) == {0, 7}
        bright = array_of(reference) > 0
        assert ((on_grid > 0) == bright).mean() > 0.995
        assert on_grid.shape == reference.GetSize()


# --- crops


@pytest.mark.parametrize("shape", [(30, 31, 20), (10, 40, 16), (7, 5, 3), (1, 1, 1), (24, 24, 16)])
@pytest.mark.parametrize("padding", ["reflect", "air"])
def test_every_voxel_of_a_crop_is_the_one_its_affine_says(shape, padding):
    contract = Contract(crop_shape=(24, 24, 16), patch_shape=(4, 4, 4), padding=padding)
    hu, affine = numbered(shape), np.diag([1.5, 1.5, 3.0, 1.0])
    affine[:3, 3] = (10, -20, 30)
    crop = center_crop(hu, affine, contract)
    assert crop.voxels.shape == crop.is_padding.shape == (24, 24, 16)
    place = np.argwhere(~crop.is_padding)
    source = place @ crop.affine[:3, :3].T + crop.affine[:3, 3]
    index = np.rint(np.linalg.solve(affine[:3, :3], (source - affine[:3, 3]).T).T).astype(int)
    assert len(place) == np.prod(np.minimum(shape, (24, 24, 16)))
    np.testing.assert_array_equal(crop.voxels[tuple(place.T)], hu[tuple(index.T)])
    outside = crop.voxels[crop.is_padding]
    if padding == "air":
        assert (outside == -1024).all()
    else:
        assert np.isin(outside, hu).all()


def test_the_centre_crop_is_in_the_centre():
    contract = Contract(crop_shape=(4, 4, 4), patch_shape=(2, 2, 2))
    crop = center_crop(numbered((8, 5, 2)), np.eye(4), contract)
    np.testing.assert_array_equal(crop.affine[:3, 3], (2, 0, -1))
    np.testing.assert_array_equal(crop.is_padding.sum(axis=(0, 1)), (16, 0, 0, 16))


def test_reflection_mirrors_at_the_edge_again_and_again():
    contract = Contract(crop_shape=(8, 2, 2), patch_shape=(2, 2, 2))
    hu = np.broadcast_to(np.array([5, 6, 7], np.int16)[:, None, None], (3, 2, 2))
    crop = center_crop(hu, np.eye(4), contract)
    np.testing.assert_array_equal(crop.voxels[:, 0, 0], (7, 6, 5, 6, 7, 6, 5, 6))


def test_a_crop_may_start_outside_but_must_touch_the_volume():
    contract = Contract(crop_shape=(4, 4, 4), patch_shape=(2, 2, 2))
    hu = numbered((6, 6, 6))
    crop = crop_at(hu, np.eye(4), (-2, 1, 4), contract)
    np.testing.assert_array_equal(crop.voxels[2:, :, :2], hu[:2, 1:5, 4:])
    np.testing.assert_array_equal(crop.affine[:3, 3], (-2, 1, 4))
    assert crop.is_padding[:2].all()
    assert not crop.is_padding[2:, :, :2].any()
    with pytest.raises(ValueError, match="misses a volume"):
        crop_at(hu, np.eye(4), (6, 0, 0), contract)


def test_the_window_maps_to_minus_one_and_one():
    hu = np.array([-3000, -1000, 0, 500, 1000, 3000], np.int16).reshape(6, 1, 1)
    voxels = normalise(hu, Contract())
    np.testing.assert_allclose(voxels.ravel(), (-1, -1, 0, 0.5, 1, 1), atol=1e-7)
    soft = normalise(hu, Contract(window_hu=(-160.0, 240.0)))
    np.testing.assert_allclose(soft.ravel(), (-1, -1, -0.2, 1, 1, 1), atol=1e-7)
