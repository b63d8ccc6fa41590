"""Fixtures of the data tests: one small synthetic CT, in memory and on disk."""

from pathlib import Path

import pytest
import SimpleITK as sitk  # noqa: N813
from synthetic_ct import blob, empty_ras, paint, write_archive


@pytest.fixture
def ct_image() -> sitk.Image:
    return paint(empty_ras(), blob)


@pytest.fixture
def ct_file(tmp_path: Path, ct_image: sitk.Image) -> Path:
    path = tmp_path / "ct.nii.gz"
    sitk.WriteImage(ct_image, str(path))
    return path


@pytest.fixture
def archive_dir(tmp_path: Path, ct_image: sitk.Image) -> Path:
    return write_archive(tmp_path / "archive", ct_image)
