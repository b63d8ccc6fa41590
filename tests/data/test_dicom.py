import json
import logging

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from synthetic_ct import (
    LANDMARK_MM,
    blob,
    center_of_ball,
    empty_ras,
    paint,
    world_of,
    write_dicom,
)

from simcrop.data.contract import Contract
from simcrop.data.preprocessing import prepare_volume
from simcrop.data.stated import StatedHeader
from simcrop.data.volume import read_ct, read_volume
from simcrop.errors import DataError


@pytest.fixture
def lps(ct_image) -> sitk.Image:
    return sitk.DICOMOrient(ct_image, "LPS")[:, :, 5:20]


def test_a_series_gives_the_volume_in_hu(tmp_path, lps):
    volume = read_volume(write_dicom(tmp_path / "series", lps))
    expected = sitk.GetArrayFromImage(sitk.DICOMOrient(lps, "RAS")).T
    np.testing.assert_array_equal(volume.hu, expected)
    np.testing.assert_allclose(volume.spacing_mm, (2.5, 2.5, 3.0), atol=1e-4)


@pytest.mark.parametrize("missing", [(1,), (7,), (13,), (4, 5, 9)])
def test_missing_slices_are_refused(tmp_path, lps, missing):
    folder = write_dicom(tmp_path / "series", lps, drop=missing)
    with pytest.raises(DataError, match=r"[69]\.00 mm|12\.00 mm") as error:
        read_volume(folder)
    assert "3.00 mm apart" in str(error.value)
    assert "Slices are missing" in str(error.value)
    assert error.value.kind == "missing_slices"


def test_doubled_slices_are_refused(tmp_path, lps):
    folder = write_dicom(tmp_path / "series", lps, series="1.2.3.4.56789012")
    path = sorted(folder.iterdir())[6]
    copy = pydicom.dcmread(path)
    copy.SOPInstanceUID = "1.2.3.4"
    copy.save_as(folder / "again.dcm")
    with pytest.raises(DataError, match=r"0\.00 mm between") as error:
        read_volume(folder)
    assert error.value.kind == "duplicated_slices"


def test_another_modality_is_refused_without_its_free_text(tmp_path, lps):
    folder = write_dicom(tmp_path / "series", lps, modality="MR")
    with pytest.raises(DataError, match="DICOM of modality MR; expected CT") as error:
        read_volume(folder)
    assert "Secret" not in str(error.value)


@pytest.mark.parametrize("lean_mm", [0.5, -1.2])
def test_a_tilted_gantry_is_corrected(tmp_path, lean_mm):
    """Every voxel is painted where it truly lies; after resampling the ball is where it was."""
    upright = sitk.DICOMOrient(empty_ras((40, 44, 40)), "LPS")
    points = world_of(upright)
    number = np.arange(40)
    points[..., 1] -= lean_mm * number  # LPS to RAS: the lean is towards the back
    leaning = sitk.GetImageFromArray(np.rint(blob(points)).astype(np.int16).T)
    leaning.CopyInformation(upright)
    folder = write_dicom(tmp_path / "series", leaning, lean_mm=lean_mm)
    volume = prepare_volume(folder, Contract(spacing_mm=(2.0, 2.0, 2.0)))
    np.testing.assert_allclose(center_of_ball(volume.hu, volume.affine), LANDMARK_MM, atol=0.15)
    as_stored = read_volume(folder)  # the sheared grid itself: same voxels, true affine
    np.testing.assert_allclose(
        center_of_ball(as_stored.hu, as_stored.affine), LANDMARK_MM, atol=0.15
    )


def test_of_several_series_the_longest_usable_is_read_and_said(tmp_path, lps, caplog):
    folder = tmp_path / "series"
    longer = sitk.DICOMOrient(paint(empty_ras((30, 32, 40)), blob), "LPS")
    write_dicom(folder / "a", lps[:, :, :9], series="1.2.1")
    write_dicom(folder / "b" / "c", lps, series="1.2.2")  # folders between do not matter
    write_dicom(folder / "scout", lps, series="1.2.0", image_type=["ORIGINAL", "LOCALIZER"])
    write_dicom(folder / "mr", longer, series="1.2.3", modality="MR")
    (folder / "report.txt").write_text("no slice")
    with caplog.at_level(logging.WARNING, logger="simcrop"):
        volume = read_volume(folder)
    assert volume.shape == (30, 32, 15)
    assert "4 series with [15, 9, 15, 40] slices; number 3 is read (most slices)" in caplog.text
    assert json.loads(volume.series) == {
        "number": 3, "slices": [15, 9, 15, 40], "rule": "most slices",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("number", "kind"), [(1, "localiser"), (2, None), (4, "other_modality"), (5, "no_series")]
)
def test_the_table_may_name_another_series(tmp_path, lps, number, kind):
    folder = tmp_path / "series"
    write_dicom(folder, lps, series="1.2.0", image_type=["ORIGINAL", "LOCALIZER"])
    write_dicom(folder, lps[:, :, :9], series="1.2.1")
    write_dicom(folder, lps, series="1.2.2")
    write_dicom(folder, lps, series="1.2.3", modality="MR")
    if kind is None:
        stack = read_ct(folder, StatedHeader(series=number))
        assert stack.grid.shape == (30, 32, 9)
        assert json.loads(stack.series)["rule"] == "named in the table"
    else:
        with pytest.raises(DataError) as error:
            read_ct(folder, StatedHeader(series=number))
        assert error.value.kind == kind


def test_slope_and_intercept_of_every_slice_are_its_own(tmp_path, lps):
    folder = write_dicom(tmp_path / "series", lps)
    for number, path in enumerate(sorted(folder.iterdir())):
        file = pydicom.dcmread(path)
        file.RescaleSlope, file.RescaleIntercept = (2, -1024) if number % 2 else (1, -1000)
        values = sitk.GetArrayFromImage(lps)[number]
        stored = (values + 1024) // 2 if number % 2 else values + 1000
        file.PixelData = stored.astype(np.uint16).tobytes()
        file.save_as(path)
    difference = read_ct(folder).voxels - sitk.GetArrayFromImage(lps)
    assert set(np.unique(difference)) <= {-1, 0}  # halves of odd values are cut off


@pytest.mark.parametrize(
    "syntax", ["JPEGLossless", "JPEG2000", "RLE", "deflated", "implicit", "mixed"]
)
def test_compressed_slices_give_the_same_voxels(tmp_path, lps, syntax):
    folder = write_dicom(tmp_path / "series", lps)
    expected = read_ct(folder).voxels
    for number, path in enumerate(sorted(folder.iterdir())):
        compress(path, ("JPEGLossless", "RLE")[number % 2] if syntax == "mixed" else syntax)
    np.testing.assert_array_equal(read_ct(folder).voxels, expected)


def compress(path, syntax: str) -> None:
    """Write a slice again in another transfer syntax; SimpleITK encodes what pydicom cannot."""
    file = pydicom.dcmread(path)
    if syntax == "RLE":
        file.compress(RLELossless)
    elif syntax in ("JPEGLossless", "JPEG2000"):
        writer, beside = sitk.ImageFileWriter(), str(path.with_suffix(".jpg.dcm"))
        writer.SetFileName(beside)
        writer.UseCompressionOn()
        writer.SetCompressor("JPEG" if syntax == "JPEGLossless" else "JPEG2000")
        writer.Execute(sitk.GetImageFromArray(file.pixel_array))
        encoded = pydicom.dcmread(beside)
        path.with_suffix(".jpg.dcm").unlink()
        file.PixelData = encoded.PixelData
        file["PixelData"].is_undefined_length = True
        file.file_meta.TransferSyntaxUID = encoded.file_meta.TransferSyntaxUID
    elif syntax == "deflated":
        file.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    else:
        file.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    file.save_as(path, enforce_file_format=True)


def test_a_slice_without_position_is_refused(tmp_path, lps):
    folder = write_dicom(tmp_path / "series", lps)
    for path in folder.iterdir():
        file = pydicom.dcmread(path)
        del file.ImagePositionPatient
        file.save_as(path)
    with pytest.raises(DataError, match="series"):
        read_volume(folder)


def test_a_truncated_slice_is_refused(tmp_path, lps):
    folder = write_dicom(tmp_path / "series", lps)
    path = sorted(folder.iterdir())[3]
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError):
        read_volume(folder)
