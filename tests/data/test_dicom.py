import logging

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from synthetic_ct import write_dicom

from simcrop.data.volume import read_volume
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
    assert "missing or doubled" in str(error.value)


def test_doubled_slices_are_refused(tmp_path, lps):
    folder = write_dicom(tmp_path / "series", lps, series="1.2.3.4.56789012")
    path = sorted(folder.iterdir())[6]
    copy = pydicom.dcmread(path)
    copy.SOPInstanceUID = "1.2.3.4"
    copy.save_as(folder / "again.dcm")
    with pytest.raises(DataError, match=r"0\.00 mm between"):
        read_volume(folder)


def test_another_modality_is_refused_without_its_free_text(tmp_path, lps):
    folder = write_dicom(tmp_path / "series", lps, modality="MR")
    with pytest.raises(DataError, match="DICOM of modality MR; expected CT") as error:
        read_volume(folder)
    assert "Secret" not in str(error.value)


def test_a_tilted_gantry_is_refused(tmp_path, lps):
    folder = write_dicom(tmp_path / "series", lps, lean_mm=0.4)
    with pytest.raises(DataError, match=r"5\.6 mm sideways"):
        read_volume(folder)


def test_of_several_series_the_longest_is_read_and_said(tmp_path, lps, caplog):
    folder = tmp_path / "series"
    write_dicom(folder, lps[:, :, :9], series="1.2.1")
    write_dicom(folder, lps, series="1.2.2")
    with caplog.at_level(logging.WARNING, logger="simcrop"):
        assert read_volume(folder).shape == (30, 32, 15)
    assert "2 series with [9, 15] slices; number 2 is read" in caplog.text


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
