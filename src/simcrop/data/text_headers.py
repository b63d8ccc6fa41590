"""Text headers of NRRD and MetaImage, looked at before SimpleITK is: some bring it down.

A few thousand headers changed at random crash its readers (MetaImage: a number of axes that is no
small number; NRRD: a line of thousands of letters), and a header may name any file of the machine
as its voxels. What remains is SimpleITK's to judge.
"""

import re
from pathlib import Path, PurePosixPath

from simcrop.errors import DataError, complain

_HEADER_BYTES = 1 << 16
_LONGEST_LINE = 1000
_MAX_AXES = 8
_FIELDS = {  # number of axes, file of the voxels, separator
    ".mha": (b"NDims", b"ElementDataFile", b"="),
    ".mhd": (b"NDims", b"ElementDataFile", b"="),
    ".nrrd": (b"dimension", b"data file", b":"),
    ".nhdr": (b"dimension", b"data file", b":"),
}
_IN_PLACE = {"", "LOCAL", "LIST"}
_NUMBERED = re.compile(r"[^%]*(%0?[0-9]?d[^%]*)?")  # slice%03d.raw


def check_text_header(path: Path) -> None:
    """Refuse a NRRD or MetaImage file whose header would crash its reader or leads elsewhere.

    Raises:
        DataError: naming the line; files of other formats pass.
    """
    if path.suffix.lower() not in _FIELDS:
        return
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    axes_name, file_name, separator = _FIELDS[path.suffix.lower()]
    for number, line in enumerate(header.split(b"\n"), start=1):
        name, _, value = line.partition(separator)
        name, value = name.strip(), value.strip()
        is_free_text = value.startswith(b"=")  # NRRD's key:=value
        if len(line) > _LONGEST_LINE and not is_free_text:
            found, expected = f"{len(line)} letters", f"at most {_LONGEST_LINE}"
        elif name == axes_name and not (value.isdigit() and 1 <= int(value[:4]) <= _MAX_AXES):
            found, expected = "a damaged number of axes", "3 axes"
        elif name == file_name and not _is_beside(value.decode("latin-1")):
            found, expected = "voxels in a file elsewhere", "a file beside the header"
        else:
            found, expected = "", ""
        if found:
            raise DataError(
                complain(
                    f"{path}: line {number} of the header has {found}",
                    expected,
                    "Convert the volume again from its source.",
                ),
                "unsafe_archive" if name == file_name else "truncated",
            )
        if not line.strip() or name == b"ElementDataFile":  # the voxels begin
            return


def _is_beside(name: str) -> bool:
    """Return whether a name, of one file or of numbered ones, stays in the folder of its header."""
    path = PurePosixPath(name.replace("\\", "/").partition(" ")[0])
    leads_away = path.is_absolute() or ".." in path.parts or ":" in name
    return str(path) in _IN_PLACE or (not leads_away and _NUMBERED.fullmatch(name) is not None)
