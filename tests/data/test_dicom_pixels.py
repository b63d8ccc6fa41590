import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom.uid import ImplicitVRLittleEndian
from synthetic_ct import write_dicom

from simcrop.data import dicom_pixels
from simcrop.data.dicom_headers import read_header
from simcrop.data.volume import read_ct


@pytest.fixture
def folder(tmp_path, ct_image):
    return write_dicom(tmp_path / "series", sitk.DICOMOrient(ct_image, "LPS")[:, :, 5:20])


def edit(folder, change, every: int = 1) -> None:
    for path in sorted(folder.iterdir())[::every]:
        file = pydicom.dcmread(path)
        change(file)
        file.save_as(path)


def signed(file) -> None:
    pixels = np.frombuffer(file.PixelData, np.uint16).astype(np.int16) - 1024
    file.PixelRepresentation, file.RescaleIntercept = 1, 0
    file.PixelData = pixels.tobytes()


def implicit(file) -> None:
    file.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def other_intercept(file) -> None:
    file.RescaleIntercept = -1000


def nothing(file) -> None:
    pass


@pytest.mark.parametrize("change", [nothing, signed, implicit, other_intercept])
def test_against_gdcm_voxels_and_geometry(folder, change, monkeypatch):
    edit(folder, change, every=2)
    plain = read_ct(folder)
    assert plain.image is None  # no decoder had a part in it
    monkeypatch.setattr(dicom_pixels, "_read_plain", lambda slices: None)
    decoded = read_ct(folder)
    np.testing.assert_array_equal(plain.voxels, decoded.voxels)
    np.testing.assert_allclose(plain.affine, decoded.affine, atol=1e-9)
    assert plain.series == decoded.series


def inverted(file) -> None:
    file.PhotometricInterpretation = "MONOCHROME1"


def half_steps(file) -> None:
    file.RescaleSlope = 0.5


def fraction(file) -> None:
    file.RescaleIntercept = -1023.5


def twelve_signed_bits(file) -> None:
    signed(file)
    file.BitsStored, file.HighBit = 12, 11


def cut_short(file) -> None:
    file.PixelData = file.PixelData[:-2]


@pytest.mark.parametrize("change", [inverted, half_steps, fraction, twelve_signed_bits, cut_short])
def test_pixels_that_need_a_decoder_are_left_to_gdcm(folder, change):
    edit(folder, change)
    assert all(read_header(path).pixels is None for path in folder.iterdir())


def test_bits_beyond_the_stored_ones_are_left_to_gdcm(folder):
    def twelve_bits(file) -> None:
        file.BitsStored, file.HighBit = 12, 11

    edit(folder, twelve_bits)
    assert read_ct(folder).image is None

    def overlay(file) -> None:
        pixels = np.frombuffer(file.PixelData, np.uint16).copy()
        pixels[:100] |= 1 << 14
        file.PixelData = pixels.tobytes()

    expected = read_ct(folder).voxels
    edit(folder, overlay)
    decoded = read_ct(folder)
    assert decoded.image is not None
    np.testing.assert_array_equal(decoded.voxels, expected)
