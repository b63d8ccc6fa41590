"""Files whose bytes were changed at random: read, or refused by our message; never anything else.

Longer runs of the same, thousands of mutations per format each in a process of its own, are in the
experiment log; this is the short one.
"""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from chest_like import chest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from synthetic_ct import write_dicom

from simcrop.data.stated import StatedHeader
from simcrop.data.volume import read_ct
from simcrop.errors import DataError

HEADER = StatedHeader((6.0, 6.0, 9.0), (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0))


FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def small() -> sitk.Image:
    return chest()[8:40, 4:36, 10:20]


def write(suffix: str, folder: Path) -> Path:
    """Return the file whose bytes are to be changed."""
    path = folder / f"ct{suffix}"
    if suffix == ".dcm":
        return sorted(write_dicom(folder / "series", small()).iterdir())[4]
    if suffix == ".npz":
        np.savez_compressed(path, ct=sitk.GetArrayFromImage(small()))
    elif suffix == ".zip":
        inside = write(".nii", folder)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.write(inside, "a/ct.nii")
        inside.unlink()
    else:
        sitk.WriteImage(small(), str(path))
    return path


def mutate(data: bytes, seed: int, header_bytes: int) -> bytes:
    """Change, remove or insert a few bytes, most of them in the header."""
    rng = np.random.default_rng(seed)
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        limit = min(header_bytes, len(changed)) if rng.random() < 0.8 else len(changed)
        at, kind = int(rng.integers(max(limit, 1))), rng.integers(5)
        if kind == 0:
            changed[at : at + 1] = bytes([int(rng.integers(256))])
        elif kind == 1:
            changed[at : at + 4] = rng.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])
        elif kind == 2:
            del changed[at : at + int(rng.integers(1, 20))]
        elif kind == 3:
            changed[at:at] = bytes(rng.integers(0, 256, int(rng.integers(1, 9)), dtype=np.uint8))
        else:
            changed = changed[: max(at, 1)]
    return bytes(changed)


def read_or_refuse(path: Path, suffix: str) -> None:
    where = path.parent if suffix == ".dcm" else path
    try:
        stack = read_ct(where, HEADER if suffix == ".npz" else None)
        said = ""
    except DataError as error:
        stack, said = None, str(error)
    if stack is None:
        assert str(where) in said
        assert "; expected " in said
    else:
        assert stack.voxels.dtype == np.int16


FORMATS = {
    ".nii": 348,
    ".nii.gz": 400,
    ".nrrd": 500,
    ".mha": 400,
    ".npz": 120,
    ".zip": 400,
    ".dcm": 900,
}


@pytest.mark.parametrize("suffix", FORMATS)
def test_mutated_files_are_read_or_refused(tmp_path, suffix):
    path = write(suffix, tmp_path)
    whole = path.read_bytes()
    for seed in range(40):
        path.write_bytes(mutate(whole, seed, FORMATS[suffix]))
        read_or_refuse(path, suffix)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    dim=st.lists(st.integers(-(2**15), 2**15 - 1), min_size=8, max_size=8),
    pixdim=st.lists(st.floats(width=32), min_size=8, max_size=8),
    codes=st.lists(st.integers(-2, 2000), min_size=4, max_size=4),
)
def test_any_nifti_header_is_read_or_refused(tmp_path, dim, pixdim, codes):
    path = tmp_path / "ct.nii"
    sitk.WriteImage(small(), str(path))
    data = bytearray(path.read_bytes())
    data[40:56] = np.array(dim, "<i2").tobytes()
    data[76:108] = np.array(pixdim, "<f4").tobytes()
    data[70:74] = np.array(codes[:2], "<i2").tobytes()  # datatype, bits
    data[252:256] = np.array(codes[2:], "<i2").tobytes()  # qform and sform code
    path.write_bytes(data)
    read_or_refuse(path, ".nii")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    suffix=st.sampled_from([".nrrd", ".mha"]),
    line=st.integers(0, 14),
    value=st.one_of(st.text(max_size=20), st.integers().map(str), st.floats().map(str)),
)
def test_any_value_in_a_text_header_is_read_or_refused(tmp_path, suffix, line, value):
    path = tmp_path / f"ct{suffix}"
    sitk.WriteImage(small(), str(path))
    lines = path.read_bytes().split(b"\n")
    separator = b": " if suffix == ".nrrd" else b" = "
    name, found, _ = lines[line % 12].partition(separator)
    lines[line % 12] = name + found + value.replace("\n", "").encode("utf-8", "replace")
    path.write_bytes(b"\n".join(lines))
    read_or_refuse(path, suffix)
