"""Read one volume of any format: voxels in HU, geometry in mm, checks that speak.

Whatever the source (NIfTI, NRRD, MHA/MHD or a DICOM series), a `Volume` is an int16 array
(x, y, z) in HU that runs to the patient's Right, Anterior and Superior, with a NIfTI affine.
SimpleITK reads; its world is LPS, ours RAS, and this module is the only place that converts.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Float, Int16, Num, Shaped

from simcrop.data.arrays import is_slice_folder, read_npz, read_slices
from simcrop.data.atomic import atomic_path
from simcrop.data.dicom import check_modality, read_series
from simcrop.data.stated import StatedHeader
from simcrop.data.volume_checks import as_hu, check_nifti, check_shape
from simcrop.errors import DataError, complain
from simcrop.geometry import Shape3, VoxelGrid

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_FORMATS = {
    ".nii": "NIfTI",
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
    ".mha": "MHA",
    ".mhd": "MHD",
    ".npz": "NPZ",
}


@dataclass(frozen=True, eq=False)
class Volume:
    """A CT volume in RAS order.

    Attributes:
        hu: voxels in HU. A transposed view of SimpleITK's (z, y, x) memory, so x runs fastest.
        affine: voxel index to world in RAS+ mm, as in NIfTI.
        source: the path it was read from.
        native_grid: the voxels of that file as they lie on disk; None for a volume made here.
            `simcrop.data.native` brings results back to it.
    """

    hu: Int16[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]
    source: str
    native_grid: VoxelGrid | None = None

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along x, y, z in mm."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0).tolist()
        return x, y, z

    @property
    def shape(self) -> Shape3:
        """Number of voxels along x, y, z."""
        x, y, z = self.hu.shape
        return x, y, z


def read_volume(path: Path | str) -> Volume:
    """Read a CT volume of any format at its own resolution, oriented to RAS, checked.

    Raises:
        DataError: if the file is missing, damaged or not a CT volume in HU.
    """
    image = read_ct(path)
    native_grid = grid_of(image)
    return from_image(to_ras(image), str(path), native_grid)


def read_ct(path: Path | str, stated: StatedHeader | None = None) -> sitk.Image:
    """Read a CT volume as stored on disk, as int16 HU, with header and intensity checks.

    Args:
        path: of the file or folder.
        stated: what a table says about the volume in place of its own header.

    Raises:
        DataError: if the file is missing, damaged or not a CT volume in HU.
    """
    return as_hu(read_image(path, stated), Path(path))


def read_image(path: Path | str, stated: StatedHeader | None = None) -> sitk.Image:
    """Read a 3-D scalar volume (CT or mask) as stored; a folder is a DICOM series or 8-bit slices.

    Geometry is the file's own to the last digit; `round_geometry` follows where voxels are
    resampled. Header text may still hang on the image, but goes no further: a `Volume` and what
    `write_volume` writes hold voxels and geometry only.

    Raises:
        DataError: if the file is missing, damaged, or not a 3-D scalar volume with geometry.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(
            complain(f"{path}: no such file or folder", "a volume", "Correct the path.")
        )
    try:
        with _quietly():
            image = _read(path, stated)
    except RuntimeError as error:
        raise DataError(
            complain(
                f"{path}: not readable as a volume",
                "a complete NIfTI, NRRD, MHA or MHD file or a folder with a DICOM series",
                "Copy the file again or remove its row.",
            )
        ) from error
    if stated is not None:
        image = stated.apply(image, path)
    check_shape(image, path)
    return image


def round_geometry(image: sitk.Image) -> sitk.Image:
    """Round spacing to 1e-4 mm, origin to 1e-3 mm, direction to 1e-6, in place.

    Formats keep numbers as float32, decimal strings or averages of slice positions, so that one
    volume exported twice differs in the sixth digit: 3.987342 and 3.987337 mm in a real pair.
    Such twins must give equal voxels after resampling. The cost is below 0.03 mm over 512 voxels.
    """
    image.SetSpacing(np.round(image.GetSpacing(), 4).tolist())
    image.SetOrigin(np.round(image.GetOrigin(), 3).tolist())
    image.SetDirection(np.round(image.GetDirection(), 6).tolist())
    return image


def to_ras(image: sitk.Image) -> sitk.Image:
    """Permute and flip the axes so that they run (nearly) to Right, Anterior, Superior."""
    return sitk.DICOMOrient(round_geometry(image), "RAS")


def affine_of(image: sitk.Image) -> Float[np.ndarray, "4 4"]:
    """Return the NIfTI affine (voxel index to RAS+ mm) of a SimpleITK image."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = _LPS_TO_RAS @ direction * np.array(image.GetSpacing())
    affine[:3, 3] = _LPS_TO_RAS @ np.array(image.GetOrigin())
    return affine + 0.0  # no negative zeros


def array_of(image: sitk.Image) -> Num[np.ndarray, "x y z"]:
    """Return the voxels as (x, y, z): one copy out of SimpleITK's memory, then a transposed view.

    The copy (3 ms for 224 x 224 x 112) is deliberate: a view would dangle once the image is gone.
    """
    return sitk.GetArrayFromImage(image).T


def grid_of(image: sitk.Image) -> VoxelGrid:
    """Return where the voxels of an image lie; take it before `to_ras` or `resample`."""
    x, y, z = image.GetSize()
    return VoxelGrid((x, y, z), affine_of(image))


def from_image(image: sitk.Image, source: str, native_grid: VoxelGrid | None = None) -> Volume:
    """Return a RAS-oriented int16 image as a `Volume`."""
    return Volume(array_of(image), affine_of(image), source, native_grid)


def to_image(array: Shaped[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]) -> sitk.Image:
    """Return an array and its RAS+ affine as a SimpleITK image; booleans become 0 and 1."""
    voxels = array.astype(np.uint8) if array.dtype == bool else array
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    spacing, direction, origin = geometry_of(affine)
    image.SetSpacing(spacing)
    image.SetDirection(direction)
    image.SetOrigin(origin)
    return image


def geometry_of(
    affine: Float[np.ndarray, "4 4"],
) -> tuple[list[float], list[float], list[float]]:
    """Return spacing, direction (row-major) and origin, as SimpleITK wants them, of an affine."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    direction = _LPS_TO_RAS @ affine[:3, :3] / spacing
    origin = _LPS_TO_RAS @ affine[:3, 3]
    return spacing.tolist(), direction.ravel().tolist(), origin.tolist()


def write_volume(
    path: Path | str, array: Shaped[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]
) -> None:
    """Write voxels and geometry, and nothing else, as NIfTI; whole or not at all."""
    with atomic_path(Path(path)) as temporary:
        sitk.WriteImage(to_image(array, affine), str(temporary), useCompression=True)


def format_of(path: Path) -> str:
    """Return the name of a volume's format for the manifest, from its file name."""
    if path.is_dir():
        return "slices" if is_slice_folder(path) else "DICOM"
    return _FORMATS.get(Path(path.name.removesuffix(".gz")).suffix.lower(), "other")


@contextmanager
def _quietly() -> Generator[None]:
    """Silence ITK's warnings on stderr; what matters in them is checked here instead."""
    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)


def _read(path: Path, stated: StatedHeader | None) -> sitk.Image:
    """Read what a path leads to; arrays without geometry need it stated."""
    has_geometry = stated is not None and stated.has_geometry
    if path.suffix == ".npz" or (path.is_dir() and is_slice_folder(path)):
        if not has_geometry:
            raise DataError(
                complain(
                    f"{path}: an array without voxel size and orientation",
                    "both in the column `header` of volumes.csv",
                    "State them, or convert the volume to NIfTI with its affine.",
                ),
                kind="no_geometry",
            )
        return read_slices(path) if path.is_dir() else read_npz(path)
    return read_series(path) if path.is_dir() else _read_file(path, has_geometry)


def _read_file(path: Path, has_geometry: bool) -> sitk.Image:
    """Read one file; the header is checked before the voxels cost anything."""
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    check_modality(reader, path)
    axes, values = reader.GetDimension(), reader.GetNumberOfComponents()
    kind = sitk.GetPixelIDValueAsString(reader.GetPixelID())
    if axes != 3 or values != 1 or "complex" in kind:
        raise DataError(
            complain(
                f"{path}: {axes} axes and {values} values per voxel ({kind})",
                "3 axes and 1 real value per voxel",
                "Store one time point or channel per file, in HU.",
            )
        )
    if reader.HasMetaDataKey("qform_code"):  # NIfTI
        check_nifti(reader, path, needs_affine=not has_geometry)
    return reader.Execute()
