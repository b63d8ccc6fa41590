"""What stands in a header stays there: nothing of it reaches a store, a message or a log."""

import gzip
import logging
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from chest_like import CONTRACT, chest
from synthetic_ct import write_dicom, write_table
from typer.testing import CliRunner

from simcrop.cli.main import app

SECRETS = {
    "PatientName": "Mustermann^Erika",
    "PatientID": "PID-4711-0815",
    "PatientBirthDate": "19640812",
    "StudyDate": "20260101",
    "AccessionNumber": "ACC99887766",
    "InstitutionName": "Charite Mitte",
    "ReferringPhysicianName": "Doktor^House",
    "StudyDescription": "Thorax bei V.a. Sarkoidose",
    "SeriesDescription": "Lunge Kern B70",
    "ImageComments": "Angehoerige anrufen",
    "StudyInstanceUID": "1.2.840.99999.1.471108151234",
    "SeriesInstanceUID": "1.2.840.99999.2.471108155678",
    "FrameOfReferenceUID": "1.2.840.99999.3.471108159012",
}
PRIVATE = "privatetagcontent"


def with_secrets(folder: Path, **others) -> Path:
    for path in sorted(write_dicom(folder, sitk.DICOMOrient(chest(), "LPS")).iterdir()):
        file = pydicom.dcmread(path)
        for name, value in (SECRETS | others).items():
            setattr(file, name, value)
        file.private_block(0x0011, "HOSPITAL", create=True).add_new(0x01, "LO", PRIVATE)
        file.save_as(path)
    return folder


def nifti(path: Path) -> Path:
    image = nibabel.Nifti1Image(sitk.GetArrayFromImage(chest()).T, np.diag([-6.0, -6, 9, 1]))
    image.header["descrip"], image.header["db_name"] = SECRETS["ImageComments"], "Mustermann^Erika"
    image.header["aux_file"] = SECRETS["PatientID"]
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, PRIVATE.encode()))
    nibabel.save(image, path)
    return path


def nrrd(path: Path) -> Path:
    image = chest()
    for name, value in SECRETS.items():
        image.SetMetaData(name, value)
    sitk.WriteImage(image, str(path))
    return path


def test_no_header_text_reaches_store_message_or_log(tmp_path, caplog):
    files, archive = tmp_path / "files", tmp_path / "archive"
    files.mkdir()
    archive.mkdir()
    refused = with_secrets(files / "refused", Modality="MR", PatientComments="Geheim")
    gap = with_secrets(files / "gap")
    sorted(gap.iterdir())[5].unlink()
    two = with_secrets(files / "two")
    with_secrets(two / "second", SeriesInstanceUID="1.2.840.99999.2.4711081556789")
    paths = [with_secrets(files / "good"), nifti(files / "a.nii.gz"), nrrd(files / "b.nrrd"), two,
             refused, gap]  # fmt: skip
    rows = [(f"v{i}", f"s{i}", str(path)) for i, path in enumerate(paths)]
    reports = [(f"s{i}", "Erika", "A nodule is seen.", "") for i in range(len(paths))]
    write_table(archive / "volumes.csv", "volume_id study_id path", rows)
    write_table(archive / "reports.csv", "study_id patient_id findings impression", reports)
    settings = {"spacing_mm": "[6,6,9]", "crop_shape": "[48,48,32]", "patch_shape": "[8,8,8]"}
    assert CONTRACT.to_dict()["spacing_mm"] == [6.0, 6.0, 9.0]
    chosen = [text for name, value in settings.items() for text in
              ("--set", f"volume.{name}={value}")]  # fmt: skip
    with caplog.at_level(logging.DEBUG):
        result = CliRunner().invoke(app, ["prepare", "-i", str(archive), "-o",
                                          str(tmp_path / "store"), "--workers", "1",
                                          "--recipe", "tiny", *chosen])  # fmt: skip
    assert result.exit_code == 1
    assert "4 prepared, 0 were ready, 2 refused" in result.output
    everything = [result.output.encode(), caplog.text.encode()]
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            everything += [path.name.encode(), data]
            everything += [gzip.decompress(data)] if path.suffix == ".gz" else []
    assert len(everything) > 20
    secrets = {*SECRETS.values(), PRIVATE, "Geheim", "Erika", "Mustermann"}
    found = [secret for secret in secrets for data in everything if secret.encode() in data]
    assert found == []
