import gzip
import logging

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from simcrop.data.reading import read_image
from simcrop.data.volume import read_volume
from simcrop.errors import DataError


def changed(image: sitk.Image, change) -> sitk.Image:
    """The image with its array replaced by `change(array)`."""
    new = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(image)))
    new.CopyInformation(image)
    return new


def with_one(value):
    def change(array):
        array = array.astype(np.float32)
        array[3, 4, 5] = value
        return array

    return change


@pytest.mark.parametrize(
    ("change", "found", "remedy"),
    [
        (with_one(np.nan), "NaN or infinite", "Convert"),
        (with_one(np.inf), "NaN or infinite", "Convert"),
        (with_one(1e9), "too large for HU", "Convert"),
        (lambda a: a * 0, "every voxel is 0", "remove its row"),
        (lambda a: ((a + 1000) / 8).clip(0, 255).astype(np.uint8), "looks like 8-bit", "original"),
        (lambda a: (a + 1024).astype(np.uint16), "no air", "rescale slope and intercept"),
    ],
)
@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "mha"])
def test_values_that_cannot_be_hu_are_refused(tmp_path, ct_image, change, found, remedy, suffix):
    path = tmp_path / f"ct.{suffix}"
    sitk.WriteImage(changed(ct_image, change), str(path))
    with pytest.raises(DataError, match=found) as error:
        read_volume(path)
    assert str(path) in str(error.value)
    assert "; expected " in str(error.value)
    assert remedy in str(error.value)


def test_padding_below_air_is_set_to_air_and_said(tmp_path, ct_image, caplog):
    def pad(array):
        array[:, :4] = -2048
        return array

    sitk.WriteImage(changed(ct_image, pad), str(tmp_path / "ct.nii.gz"))
    with caplog.at_level(logging.INFO, logger="simcrop"):
        volume = read_volume(tmp_path / "ct.nii.gz")
    assert volume.hu.min() == -1024
    assert (volume.hu[:, :4] == -1024).all()
    assert "12.5 % of the voxels lie below -1024 HU" in caplog.text


def test_float_volumes_are_rounded_to_whole_hu(tmp_path, ct_image):
    noise = np.random.default_rng(0).uniform(-0.49, 0.49, ct_image.GetSize()[::-1])
    image = changed(ct_image, lambda a: (a + noise).astype(np.float32))
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    hu = read_volume(tmp_path / "ct.nii.gz").hu
    assert hu.dtype == np.int16
    np.testing.assert_array_equal(hu, sitk.GetArrayFromImage(ct_image).T)


@pytest.mark.parametrize("suffix", ["nii", "nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.98])
def test_truncated_files_are_refused(tmp_path, ct_image, suffix, kept):
    path = tmp_path / f"ct.{suffix}"
    sitk.WriteImage(ct_image, str(path))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(DataError, match=r"ct\..*(not readable|truncated).*expected.*(Copy|copy)"):
        read_image(path)


def test_a_gzip_file_of_several_members_is_whole(tmp_path, ct_image):
    path = tmp_path / "ct.nii"
    sitk.WriteImage(ct_image, str(path))
    content, parts = path.read_bytes(), tmp_path / "ct.nii.gz"
    parts.write_bytes(gzip.compress(content[:5000]) + gzip.compress(content[5000:]))
    np.testing.assert_array_equal(read_volume(parts).hu, sitk.GetArrayFromImage(ct_image).T)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda a: np.stack([a, a], axis=-1), "4 axes"),
        (lambda a: a[:, :, :3], "30 x 32 x 3 voxels"),
    ],
)
def test_other_shapes_are_refused(tmp_path, ct_image, make, found):
    array = sitk.GetArrayFromImage(ct_image).T
    nibabel.save(nibabel.Nifti1Image(make(array), np.diag([2, 2, 2, 1])), tmp_path / "x.nii.gz")
    with pytest.raises(DataError, match=found):
        read_image(tmp_path / "x.nii.gz")


def test_colour_is_refused(tmp_path, ct_image):
    colour = sitk.Compose([sitk.Cast(ct_image, sitk.sitkUInt8)] * 3)
    sitk.WriteImage(colour, str(tmp_path / "x.mha"))
    with pytest.raises(DataError, match="3 values per voxel"):
        read_image(tmp_path / "x.mha")


def test_complex_values_are_refused(tmp_path, ct_image):
    sitk.WriteImage(sitk.Cast(ct_image, sitk.sitkComplexFloat32), str(tmp_path / "x.nii.gz"))
    with pytest.raises(DataError, match="complex"):
        read_image(tmp_path / "x.nii.gz")


def test_a_nifti_without_affine_is_refused(tmp_path, ct_image):
    array = sitk.GetArrayFromImage(ct_image).T
    nibabel.save(nibabel.Nifti1Image(array, None), tmp_path / "x.nii.gz")
    with pytest.raises(DataError, match="nothing says where left is"):
        read_image(tmp_path / "x.nii.gz")


@pytest.mark.parametrize("spacing", [0.01, 50.0])
def test_absurd_voxel_sizes_are_refused(tmp_path, ct_image, spacing):
    ct_image.SetSpacing([1.0, 1.0, spacing])
    sitk.WriteImage(ct_image, str(tmp_path / "x.nrrd"))
    with pytest.raises(DataError, match=rf"1 x 1 x {spacing:g} mm; expected 0.05 to 20"):
        read_image(tmp_path / "x.nrrd")


def test_what_is_not_there_or_no_volume_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_image(tmp_path / "nowhere.nii.gz")
    (tmp_path / "text.nii.gz").write_text("no volume")
    with pytest.raises(DataError, match="not readable as a volume"):
        read_image(tmp_path / "text.nii.gz")
