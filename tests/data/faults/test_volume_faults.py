"""Every kind of faulty volume, made from a good one, is refused by its own word and message.

The last test puts all of them into one archive: the good volume is prepared, each fault recorded.
"""

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from chest_like import CONTRACT, chest
from synthetic_ct import REPORTS, write_dicom, write_table

from simcrop.data.faults import FAULTS
from simcrop.data.jobs import Job, run_job
from simcrop.data.prepare import prepare

Fault = Callable[[Path], Path]


def written(image: sitk.Image, path: Path) -> Path:
    sitk.WriteImage(image, str(path))
    return path


def with_values(change: Callable[[np.ndarray], np.ndarray], suffix: str = ".nii.gz") -> Fault:
    def make(folder: Path) -> Path:
        good = chest()
        image = sitk.GetImageFromArray(change(sitk.GetArrayFromImage(good)))
        image.CopyInformation(good)
        return written(image, folder / f"ct{suffix}")

    return make


def with_bytes(change: Callable[[bytes], bytes], suffix: str = ".nii.gz") -> Fault:
    def make(folder: Path) -> Path:
        path = written(chest(), folder / f"ct{suffix}")
        path.write_bytes(change(path.read_bytes()))
        return path

    return make


def with_slices(change: Callable[[list[Path]], None], **options) -> Fault:
    def make(folder: Path) -> Path:
        series = write_dicom(folder / "series", sitk.DICOMOrient(chest(), "LPS"), **options)
        change(sorted(series.iterdir()))
        return series

    return make


def in_each(**fields) -> Callable[[list[Path]], None]:
    def change(paths: list[Path]) -> None:
        for path in paths:
            edit(path, **fields)

    return change


def edit(path: Path, **fields) -> None:
    file = pydicom.dcmread(path)
    for name, value in fields.items():
        setattr(file, name, value)
    file.save_as(path)


def doubled(paths: list[Path]) -> None:
    copy = pydicom.dcmread(paths[6])
    copy.SOPInstanceUID = "1.2.3.4"
    copy.save_as(paths[6].with_name("again.dcm"))


def nan(array: np.ndarray) -> np.ndarray:
    array = array.astype(np.float32)
    array[3, 4, 5] = np.nan
    return array


def padded_and_raw(array: np.ndarray) -> np.ndarray:
    is_padding = np.arange(len(array))[:, None, None] < 9
    return np.where(is_padding, -2000, array + 1024).astype(np.int16)


def as_nifti(array: np.ndarray, affine: np.ndarray | None, folder: Path) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, affine), folder / "ct.nii.gz")
    return folder / "ct.nii.gz"


def with_spacing(mm: float) -> Fault:
    def make(folder: Path) -> Path:
        image = chest()
        image.SetSpacing([6.0, 6.0, mm])
        return written(image, folder / "ct.mha")

    return make


def with_header(old: bytes, new: bytes, suffix: str) -> Fault:
    return with_bytes(lambda data: data.replace(old, new, 1), suffix)


def escaping_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "ct.zip", "w") as archive:
        archive.write(written(chest(), folder / "inside.nii.gz"), "../../outside.nii.gz")
    return folder / "ct.zip"


def two_in_a_zip(folder: Path) -> Path:
    path = written(chest(), folder / "inside.nii.gz")
    with zipfile.ZipFile(folder / "ct.zip", "w") as archive:
        archive.write(path, "a.nii.gz")
        archive.write(path, "b/b.nii.gz")
    return folder / "ct.zip"


def expanding_zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "ct.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.nii", bytes(1 << 20))
    data = bytearray((folder / "ct.zip").read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (0xF0000000).to_bytes(4, "little")  # the stated size
    (folder / "ct.zip").write_bytes(data)
    return folder / "ct.zip"


def folder_of(name: str, content: bytes) -> Fault:
    def make(folder: Path) -> Path:
        (folder / "series").mkdir()
        (folder / "series" / name).write_bytes(content)
        return folder / "series"

    return make


def array(folder: Path) -> Path:
    np.savez_compressed(folder / "ct.npz", ct=sitk.GetArrayFromImage(chest()))
    return folder / "ct.npz"


def head(folder: Path) -> Path:
    """A head's worth of soft tissue without lungs, in air."""
    return with_values(lambda a: np.where(abs(a + 850) < 50, 40, a).astype(np.int16))(folder)


def other_orientation(paths: list[Path]) -> None:
    for path in paths[len(paths) // 2 :]:
        edit(path, ImageOrientationPatient=["1", "0", "0", "0", "0", "-1"])


def other_size(paths: list[Path]) -> None:
    edit(paths[4], PixelSpacing=["3.0", "3.0"])


LPS = np.diag([-6.0, -6.0, 9.0, 1.0])
CASES: dict[str, tuple[str, Fault]] = {
    "truncated": ("truncated", with_bytes(lambda data: data[: len(data) // 2])),
    "truncated_nrrd": ("truncated", with_bytes(lambda data: data[: len(data) // 2], ".nrrd")),
    "truncated_mha": ("truncated", with_bytes(lambda data: data[:-100], ".mha")),
    "empty": ("truncated", with_bytes(lambda data: b"")),
    "not_an_image": ("not_an_image", with_bytes(lambda data: b"dear colleague" * 40)),
    "pdf": ("not_an_image", with_bytes(lambda data: b"%PDF-1.7 report", ".mha")),
    "other_modality": ("other_modality", with_slices(in_each(Modality="MR"))),
    "localiser": ("localiser", with_slices(in_each(ImageType=["ORIGINAL", "LOCALIZER"]))),
    "secondary_capture": (
        "localiser",
        with_slices(in_each(SOPClassUID="1.2.840.10008.5.1.4.1.1.7")),
    ),
    "colour": ("colour", lambda folder: written(
        sitk.Compose([sitk.Cast(chest(), sitk.sitkUInt8)] * 3), folder / "ct.mha")),
    "colour_slices": ("colour", with_slices(in_each(SamplesPerPixel=3))),
    "four_axes": ("four_axes", lambda folder: as_nifti(
        np.stack([sitk.GetArrayFromImage(chest()).T] * 2, axis=-1), LPS, folder)),
    "too_few_slices": ("too_few_slices", with_slices(lambda p: None, drop=range(5, 99))),
    "too_thin": ("too_few_slices", lambda f: written(chest()[:, :, :4], f / "ct.nii.gz")),
    "missing_slices": ("missing_slices", with_slices(lambda p: None, drop=(7,))),
    "duplicated_slices": ("duplicated_slices", with_slices(doubled)),
    "mixed_series": ("mixed_series", with_slices(other_size)),
    "mixed_orientation": ("mixed_orientation", with_slices(other_orientation)),
    "gantry_tilt": ("mixed_orientation", with_slices(lambda p: None, lean_mm=12.0)),
    "no_position": ("no_position", with_slices(in_each(ImagePositionPatient=None))),
    "zero_spacing": ("bad_spacing", with_header(
        b"ElementSpacing = 6 6", b"ElementSpacing = 6 0", ".mha")),
    "absurd_spacing": ("bad_spacing", with_spacing(50.0)),
    "tiny_spacing": ("bad_spacing", with_spacing(0.01)),
    "no_affine": ("no_affine", lambda f: as_nifti(sitk.GetArrayFromImage(chest()).T, None, f)),
    "no_affine_nrrd": ("no_affine", with_header(
        b"space directions:", b"old directions:=", ".nrrd")),
    "not_finite": ("not_finite", with_values(nan)),
    "infinite": ("not_finite", with_values(lambda a: np.where(a > 0, np.inf, a), ".mha")),
    "constant": ("constant", with_values(lambda a: a * 0)),
    "eight_bit": ("eight_bit", with_values(
        lambda a: ((a + 1000) / 8).clip(0, 255).astype(np.uint8))),
    "not_rescaled": ("not_rescaled", with_values(lambda a: (a + 1024).astype(np.int16))),
    "not_rescaled_but_padded": ("not_rescaled", with_values(padded_and_raw)),
    "rescaled_twice": ("rescaled_twice", with_values(lambda a: (a - 1024).astype(np.int16))),
    "too_large": ("too_large", with_values(lambda a: a.astype(np.float32) * 100, ".nrrd")),
    "no_lungs": ("no_lungs", head),
    "smaller_than_crop": ("smaller_than_crop", lambda f: written(
        chest()[4:14, :, :], f / "ct.nrrd")),
    "no_series": ("no_series", folder_of("notes.txt", b"no slices")),
    "no_geometry": ("no_geometry", array),
    "pictures": ("no_geometry", folder_of("0001.png", b"no png")),
    "unsafe_archive": ("unsafe_archive", escaping_zip),
    "header_elsewhere": ("unsafe_archive", with_header(
        b"ElementDataFile = LOCAL", b"ElementDataFile = ../../x", ".mha")),
    "percent_signs": ("unsafe_archive", with_header(
        b"ElementDataFile = LOCAL", b"ElementDataFile = %s%n%s%n", ".mha")),
    "axes_beyond_number": ("truncated", with_header(b"NDims = 3", b"NDims = 1e308", ".mha")),
    "endless_line": ("truncated", with_header(b"sizes: ", b"sizes: " + b"A" * 5000, ".nrrd")),
    "expanding_zip": ("unsafe_archive", expanding_zip),
    "ambiguous": ("ambiguous", two_in_a_zip),
    "broken_zip": ("truncated", with_bytes(lambda data: b"PK\x03\x04" + data[:99], ".mha.zip")),
    "missing_file": ("missing_file", lambda folder: folder / "nowhere.nii.gz"),
}  # fmt: skip


def make(name: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if name == "broken_zip":
        (folder / "ct.zip").write_bytes(b"PK\x03\x04 and no more")
        return folder / "ct.zip"
    return CASES[name][1](folder)


@pytest.mark.parametrize("name", CASES)
def test_a_faulty_volume_is_refused_by_name(tmp_path, name):
    path = make(name, tmp_path / "in")
    record = run_job(Job("v1", "s1", str(path), (), "", tmp_path), CONTRACT, tmp_path / "store")
    (row,) = record.refused
    assert (record.manifest, row["kind"]) == (None, CASES[name][0]), row
    assert row["kind"] in FAULTS
    message = row["reason"]
    found, _, rest = message.partition("; expected ")
    expected, _, remedy = rest.partition(". ")
    assert str(path) in found
    assert len(found) > len(str(path)) + 5
    assert expected
    assert remedy.endswith(".")
    assert not list((tmp_path / "store").rglob("*.nii*"))


def test_the_good_volume_is_good_in_every_form(tmp_path):
    forms = {
        "nii": written(chest(), tmp_path / "a.nii.gz"),
        "nrrd": written(chest(), tmp_path / "b.nrrd"),
        "mha": written(chest(), tmp_path / "c.mha"),
        "mhd": written(chest(), tmp_path / "d.mhd"),
        "dicom": write_dicom(tmp_path / "e", sitk.DICOMOrient(chest(), "LPS")),
    }
    for name in ("nii", "dicom"):
        forms[f"zip_{name}"] = zipped(forms[name], tmp_path / f"{name}.zip")
    stored = []
    for name, path in forms.items():
        record = run_job(Job(name, "s1", str(path), (), "", tmp_path), CONTRACT, tmp_path / "store")
        assert record.manifest is not None, record.refused
        stored.append((tmp_path / "store" / record.manifest["path"]).read_bytes())
    assert len(set(stored)) == 1
    assert not list(tmp_path.glob("simcrop-*"))


def zipped(path: Path, target: Path) -> Path:
    files = [path] if path.is_file() else sorted(path.iterdir())
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/._junk", b"x")
        for file in files:
            archive.write(file, f"some folder/{file.name}")
    return target


def test_an_archive_with_every_fault_loses_only_them(tmp_path):
    archive = tmp_path / "archive"
    rows = [("good", "s1", str(written(chest(), tmp_path / "good.nii.gz")))]
    for name in CASES:
        rows.append((name, "s2", str(make(name, tmp_path / "in" / name))))
    archive.mkdir()
    write_table(archive / "volumes.csv", "volume_id study_id path", rows)
    write_table(archive / "reports.csv", "study_id patient_id findings impression", REPORTS[:2])
    summary = prepare(archive, tmp_path / "store", CONTRACT, workers=2)
    assert (summary.num_prepared, summary.num_refused) == (1, len(CASES))
    refused = (tmp_path / "store" / "refused.csv").read_text()
    for name, (kind, _) in CASES.items():
        assert f"\n{name},s2," in refused
        assert f",volume,{kind}," in refused
    shutil.rmtree(tmp_path / "in")
