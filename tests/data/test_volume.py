import itertools

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from synthetic_ct import LANDMARK_MM, blob, center_of_ball, oblique, paint, write_dicom

from simcrop.data.reading import read_image
from simcrop.data.volume import affine_of, format_of, read_volume, to_image, write_volume
from simcrop.errors import DataError

ORIENTATIONS = [
    "".join(letters)
    for axes in itertools.permutations(["RL", "AP", "SI"])
    for letters in itertools.product(*axes)
]


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd", "mha", "mhd"])
def test_every_file_format_gives_the_same_volume(tmp_path, ct_image, suffix):
    path = tmp_path / f"ct.{suffix}"
    sitk.WriteImage(ct_image, str(path))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.hu, sitk.GetArrayFromImage(ct_image).T)
    np.testing.assert_allclose(volume.affine, affine_of(ct_image), atol=1e-3)
    assert volume.source == str(path)
    assert volume.shape == (30, 32, 34)
    assert volume.spacing_mm == pytest.approx((2.5, 2.5, 3.0))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_orientation_gives_the_same_volume(tmp_path, ct_image, orientation):
    path = tmp_path / "ct.nii.gz"
    sitk.WriteImage(sitk.DICOMOrient(ct_image, orientation), str(path))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.hu, sitk.GetArrayFromImage(ct_image).T)
    np.testing.assert_allclose(volume.affine, affine_of(ct_image), atol=2e-3)


@pytest.mark.parametrize("orientation", ["LPS", "LAS", "RAS", "SPR"])
def test_against_nibabel_geometry_and_voxels(tmp_path, ct_image, orientation):
    path = tmp_path / "ct.nii.gz"
    sitk.WriteImage(sitk.DICOMOrient(ct_image, orientation), str(path))
    canonical = nibabel.as_closest_canonical(nibabel.load(path))
    volume = read_volume(path)
    assert nibabel.aff2axcodes(volume.affine) == ("R", "A", "S")
    np.testing.assert_allclose(volume.affine, canonical.affine, atol=2e-3)
    np.testing.assert_array_equal(volume.hu, np.asarray(canonical.dataobj))


@pytest.mark.parametrize("degrees", [0.0, 7.0, 20.0, -35.0])
def test_a_landmark_keeps_its_place_in_an_oblique_volume(tmp_path, degrees):
    image = paint(oblique(degrees), blob)
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    volume = read_volume(tmp_path / "ct.nii.gz")
    np.testing.assert_allclose(center_of_ball(volume.hu, volume.affine), LANDMARK_MM, atol=0.1)
    assert nibabel.aff2axcodes(volume.affine) == ("R", "A", "S")


def test_two_exports_of_one_volume_get_the_same_geometry(tmp_path, ct_image):
    twin = sitk.Image(ct_image)
    twin.SetSpacing([mm + 4e-6 for mm in ct_image.GetSpacing()])
    twin.SetOrigin([mm + 2e-4 for mm in ct_image.GetOrigin()])
    for name, image in (("a", ct_image), ("b", twin)):
        sitk.WriteImage(image, str(tmp_path / f"{name}.nrrd"))
    first, second = read_volume(tmp_path / "a.nrrd"), read_volume(tmp_path / "b.nrrd")
    np.testing.assert_array_equal(first.affine, second.affine)


def test_written_volumes_hold_voxels_and_geometry_and_nothing_else(tmp_path, ct_image):
    secret = sitk.DICOMOrient(ct_image, "LPS")
    folder = write_dicom(tmp_path / "series", secret)
    volume = read_volume(folder)
    write_volume(tmp_path / "out.nii.gz", volume.hu, volume.affine)
    header = nibabel.load(tmp_path / "out.nii.gz").header
    assert header.get_data_dtype() == np.int16
    assert b"Secret" not in header.binaryblock
    assert [path.name for path in tmp_path.glob("*out*")] == ["out.nii.gz"]


@pytest.mark.parametrize("flips", list(itertools.product([1, -1], repeat=3)))
def test_to_image_is_the_inverse_of_affine_of(flips):
    affine = np.array([[1.5, 0, 0, -20], [0, 1.5, 0, 7], [0, 0, 3, 100], [0, 0, 0, 1.0]])
    affine[:3, :3] *= flips
    array = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    image = to_image(array, affine)
    np.testing.assert_allclose(affine_of(image), affine, atol=1e-12)
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image).T, array)


def test_formats_are_named_for_the_manifest(tmp_path):
    names = {
        "a.nii": "NIfTI",
        "a.b.nii.gz": "NIfTI",
        "a.nrrd": "NRRD",
        "a.MHD": "MHD",
        "a": "other",
    }
    assert {name: format_of(tmp_path / name) for name in names} == names
    assert format_of(tmp_path) == "DICOM"


def test_reading_prints_nothing_and_leaves_warnings_as_they_were(tmp_path, capfd):
    (tmp_path / "empty").mkdir()
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    with pytest.raises(DataError):
        read_image(tmp_path / "empty")
    assert sitk.ProcessObject.GetGlobalWarningDisplay() == before
    assert capfd.readouterr() == ("", "")


def test_real_volumes_of_all_forms_are_read_in_ras(shared_data, capfd):
    chest = ["chest_lowres_cip/dicom", "chest_lowres_cip/ct-64.nrrd"]
    for path in [*chest, "abdomen_organs_totalseg/ct.nii.gz", "lung_tumour_crop_ibsi/ct.nii.gz"]:
        volume = read_volume(shared_data / path)
        assert nibabel.aff2axcodes(volume.affine) == ("R", "A", "S")
        assert volume.hu.min() >= -1024
    assert capfd.readouterr() == ("", "")  # not even of slices 0.0007 mm off their places
