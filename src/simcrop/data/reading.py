"""Read one file or folder of any format, as stored: formats, series and zip files.

The geometry is the file's own; `simcrop.data.volume` goes on from here to RAS and HU.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from simcrop.data.arrays import is_slice_folder, read_npz, read_slices
from simcrop.data.dicom import check_modality, read_series
from simcrop.data.nifti import read_nifti, stack_of
from simcrop.data.stack import Stack
from simcrop.data.stated import StatedHeader
from simcrop.data.text_headers import check_text_header
from simcrop.data.volume_checks import check_header, check_shape, kind_of_unreadable
from simcrop.data.zipped import unpacked
from simcrop.errors import DataError, complain


def read_image(path: Path | str) -> sitk.Image:
    """Read a 3-D scalar volume (CT or mask) as stored; see `read_stack`."""
    return read_stack(path).to_image()


def read_stack(path: Path | str, stated: StatedHeader | None = None) -> Stack:
    """Read a 3-D scalar volume (CT or mask) as stored.

    A folder is a DICOM series, or 8-bit slices where their geometry is stated; a zip file holds one
    volume or series. Geometry is the file's own to the last digit; `Stack.rounded` follows where
    voxels are resampled. Header text may still hang on an image, but goes no further: a `Volume`
    and what `write_volume` writes hold voxels and geometry only.

    Raises:
        DataError: if the file is missing, damaged, or not a 3-D scalar volume with geometry.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(
            complain(f"{path}: no such file or folder", "a volume", "Correct the path."),
            "missing_file",
        )
    if path.suffix.lower() == ".zip" and path.is_file():
        with unpacked(path) as inside:
            try:
                return read_stack(inside, stated)
            except DataError as error:  # name the file that the user knows
                raise DataError(str(error).replace(str(inside), str(path)), error.kind) from error
    try:
        with quietly():
            stack = _read(path, stated)
    except (RuntimeError, MemoryError, OverflowError) as error:
        raise _unreadable(path, str(error)) from error
    if stated is not None:
        stack = stated.apply(stack, path)
    check_shape(stack, path)
    return stack


@contextmanager
def quietly() -> Generator[None]:
    """Silence ITK's warnings on stderr; what matters in them is checked here instead."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _read(path: Path, stated: StatedHeader | None) -> Stack:
    """Read what a path leads to; arrays and 8-bit slices need their geometry stated."""
    has_geometry = stated is not None and stated.has_geometry
    if path.suffix == ".npz":
        if not has_geometry:
            raise _no_geometry(path)
        return Stack.of(read_npz(path))
    if path.is_dir():
        if has_geometry and is_slice_folder(path):
            return Stack.of(read_slices(path))
        try:
            return read_series(path, stated.series if stated is not None else None)
        except DataError as error:
            if error.kind == "no_series" and is_slice_folder(path):
                raise _no_geometry(path) from error
            raise
    return _read_file(path, has_geometry)


def _unreadable(path: Path, error: str) -> DataError:
    """Return what to say of a file on which SimpleITK gives up; its words may quote the header."""
    if "spacing" in error.lower():
        found, expected = f"{path}: a voxel size of 0 or below", "positive millimetres"
        remedy = "Convert the volume again from its source."
        return DataError(complain(found, expected, remedy), "bad_spacing")
    return DataError(
        complain(
            f"{path}: not readable as a volume",
            "a complete NIfTI, NRRD, MHA or MHD file or a folder with a DICOM series",
            "Copy the file again or remove its row.",
        ),
        kind_of_unreadable(path),
    )


def _no_geometry(path: Path) -> DataError:
    return DataError(
        complain(
            f"{path}: an array without voxel size and orientation",
            "both in the column `header` of volumes.csv",
            "State them, or convert the volume to NIfTI with its affine.",
        ),
        kind="no_geometry",
    )


def _read_file(path: Path, has_geometry: bool) -> Stack:
    """Read one file; the header is checked before the voxels cost anything."""
    check_text_header(path)
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    check_modality(reader, path)
    check_header(reader, path, needs_affine=not has_geometry)
    return stack_of(reader, read_nifti(reader, path))
