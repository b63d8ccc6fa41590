import gzip

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from simcrop.data import inflate as inflating
from simcrop.data.inflate import inflate
from simcrop.data.nifti import read_nifti, read_stored
from simcrop.data.volume import affine_of, array_of, read_ct, write_volume

needs_libdeflate = pytest.mark.skipif(
    inflating.imagecodecs is None, reason="imagecodecs is not installed"
)


def header_of(path) -> sitk.ImageFileReader:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def rewrite(path, change) -> None:
    """Change the bytes of a NIfTI, compressed or not."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rb") as file:
        contents = bytearray(file.read())
    change(contents)
    with opened(path, "wb") as file:
        file.write(contents)


def scaled(contents: bytearray) -> None:
    contents[112:116] = np.float32(2).tobytes()  # scl_slope


@needs_libdeflate
@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_against_simpleitk_voxels(tmp_path, ct_image, suffix):
    path = tmp_path / f"ct.{suffix}"
    sitk.WriteImage(ct_image, str(path))
    voxels = read_nifti(header_of(path), path)
    np.testing.assert_array_equal(voxels, sitk.GetArrayFromImage(ct_image))
    assert voxels.dtype == np.int16


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize("kind", [sitk.sitkFloat32, sitk.sitkInt32, sitk.sitkUInt16, "scaled"])
def test_other_numbers_are_left_to_simpleitk(tmp_path, ct_image, suffix, kind):
    path = tmp_path / f"ct.{suffix}"
    sitk.WriteImage(ct_image if kind == "scaled" else sitk.Cast(ct_image, kind), str(path))
    if kind == "scaled":
        rewrite(path, scaled)
    assert read_nifti(header_of(path), path) is None
    if kind in (sitk.sitkFloat32, sitk.sitkInt32):
        np.testing.assert_array_equal(read_ct(path).voxels, sitk.GetArrayFromImage(ct_image))


def test_a_file_in_several_gzip_members_is_left_to_simpleitk(tmp_path, ct_image):
    path = tmp_path / "ct.nii"
    sitk.WriteImage(ct_image, str(path))
    contents = path.read_bytes()
    parts = tmp_path / "parts.nii.gz"
    parts.write_bytes(gzip.compress(contents[:9000]) + gzip.compress(contents[9000:]))
    assert read_nifti(header_of(parts), parts) is None
    np.testing.assert_array_equal(read_ct(parts).voxels, sitk.GetArrayFromImage(ct_image))


def test_without_libdeflate_simpleitk_inflates(ct_file, ct_image, monkeypatch):
    monkeypatch.setattr(inflating, "imagecodecs", None)
    assert read_nifti(header_of(ct_file), ct_file) is None
    np.testing.assert_array_equal(read_ct(ct_file).voxels, sitk.GetArrayFromImage(ct_image))


@needs_libdeflate
def test_a_wrong_checksum_or_size_is_seen(tmp_path):
    sound = gzip.compress(bytes(range(256)) * 40)
    path = tmp_path / "x.gz"
    path.write_bytes(sound)
    assert bytes(inflate(path, 10240)) == bytes(range(256)) * 40
    assert inflate(path, 10239) is None
    assert inflate(path, 10241) is None
    for damaged in (b"", sound[:-9], sound[:-8] + b"abcd" + sound[-4:], sound[:20] + sound[21:]):
        path.write_bytes(damaged)
        assert inflate(path, 10240) is None


def test_padding_is_raised_in_memory_and_not_in_the_file(tmp_path, ct_image):
    voxels = sitk.GetArrayFromImage(ct_image)
    voxels[:, :3] = -2048
    image = sitk.GetImageFromArray(voxels)
    image.CopyInformation(ct_image)
    path = tmp_path / "ct.nii"
    sitk.WriteImage(image, str(path))
    before = path.read_bytes()
    assert (read_ct(path).voxels[:, :3] == -1024).all()
    assert path.read_bytes() == before


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
@pytest.mark.parametrize("is_fast", [True, False])
def test_against_simpleitk_a_stored_volume(tmp_path, suffix, is_fast, monkeypatch):
    if not is_fast:
        monkeypatch.setattr(inflating, "imagecodecs", None)
    hu = np.random.default_rng(0).integers(-1024, 2000, (11, 12, 13)).astype(np.int16)
    affine = np.diag([1.5, 1.5, 3.0, 1.0])
    affine[:3, 3] = (-178.3, 20.1, -599.7)
    path = tmp_path / f"v.{suffix}"
    write_volume(path, hu, affine)
    voxels, found = read_stored(path)
    np.testing.assert_array_equal(voxels, hu)
    np.testing.assert_array_equal(found, affine_of(sitk.ReadImage(str(path))))


@pytest.mark.parametrize("suffix", ["nii", "nii.gz"])
def test_a_stored_file_of_another_kind_is_left_to_simpleitk(tmp_path, ct_image, suffix):
    path = tmp_path / f"v.{suffix}"
    sitk.WriteImage(ct_image, str(path))
    rewrite(path, scaled)
    voxels, affine = read_stored(path)
    np.testing.assert_array_equal(voxels, 2 * array_of(ct_image))
    np.testing.assert_allclose(affine, affine_of(ct_image), atol=1e-3)
