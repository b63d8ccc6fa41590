"""A volume in a zip file: unpacked into a private folder, and gone when it has been read.

Nothing that a zip file says about itself is trusted: names that lead outside, links, encryption and
contents that expand beyond bounds are refused before or while they are unpacked.
"""

import shutil
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from simcrop.errors import DataError, complain

VOLUMES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".npz")
_MAX_BYTES = 8 << 30  # the largest CT of a whole body is below 4 GiB
_MAX_FILES = 20_000
_MAX_RATIO = 1100  # deflate cannot shrink further
_BLOCK = 1 << 20


@contextmanager
def unpacked(path: Path) -> Generator[Path]:
    """Give the volume in a zip file: the one file of a known format, or a folder for DICOM.

    Raises:
        DataError: if the file is damaged or unsafe, or holds several volumes.
    """
    folder = Path(tempfile.mkdtemp(prefix="simcrop-"))
    try:
        _unpack(path, folder)
        files = [file for file in folder.rglob("*") if file.name.lower().endswith(VOLUMES)]
        if len(files) > 1:
            raise DataError(
                complain(
                    f"{path}: {len(files)} volumes in one zip file",
                    "one volume, or the files of DICOM series",
                    "Unpack it and give each volume a row of its own.",
                ),
                "ambiguous",
            )
        yield files[0] if files else folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if fault := _fault_of(members, path.stat().st_size):
                raise DataError(
                    complain(
                        f"{path}: {fault}",
                        f"plain files inside, at most {_MAX_BYTES >> 30} GiB",
                        "Unpack it by hand and look at what it holds.",
                    ),
                    "unsafe_archive",
                )
            for member in members:
                _extract(archive, member, folder / member.filename)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
        raise DataError(
            complain(f"{path}: not readable as zip", "a complete zip file", "Copy it again."),
            "truncated",
        ) from error


def _fault_of(members: list[zipfile.ZipInfo], num_bytes: int) -> str | None:
    """Return what makes a zip file unsafe, or None."""
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in name.parts[0]:
            return "a name that leads outside the zip file"
        if stat.S_ISLNK(member.external_attr >> 16):
            return "a link"
        if member.flag_bits & 1:
            return "an encrypted file"
    total = sum(member.file_size for member in members)
    if len(members) > _MAX_FILES or total > min(_MAX_BYTES, _MAX_RATIO * num_bytes):
        return f"{len(members)} files of {total / 1e9:.1f} GB"
    return None


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Write a member; it ends where its stated size ends, whatever follows."""
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with archive.open(member) as source, target.open("wb") as file:
        while left > 0 and (block := source.read(min(_BLOCK, left))):
            file.write(block)
            left -= len(block)
