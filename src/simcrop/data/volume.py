"""Read one volume of any format: voxels in HU, geometry in mm, checks that speak.

Whatever the source (NIfTI, NRRD, MHA/MHD, NPZ, a DICOM series, or one of them in a zip file), a
`Volume` is an int16 array (x, y, z) in HU that runs to the patient's Right, Anterior and Superior,
with a NIfTI affine. SimpleITK reads; its world is LPS, ours RAS, and this module is the only place
that converts.
"""

import errno
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Float, Int16, Num, Shaped

from simcrop.data.arrays import is_slice_folder
from simcrop.data.atomic import atomic_path
from simcrop.data.reading import quietly, read_stack
from simcrop.data.stack import LPS_TO_RAS, Stack
from simcrop.data.stated import StatedHeader
from simcrop.data.volume_checks import as_hu, num_bytes
from simcrop.geometry import Shape3, VoxelGrid

_NIFTI_BYTES = 352  # header and the four bytes that tell of extensions
_FORMATS = {
    ".nii": "NIfTI",
    ".nrrd": "NRRD",
    ".nhdr": "NRRD",
    ".mha": "MHA",
    ".mhd": "MHD",
    ".npz": "NPZ",
    ".zip": "zip",
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
        series: which of the DICOM series of its folder it is, as JSON without identifiers: its
            number, the slices of each, the rule of the choice; "" for other formats.
    """

    hu: Int16[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]
    source: str
    native_grid: VoxelGrid | None = None
    series: str = ""

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
    stack = read_ct(path)
    image = to_ras(stack.to_image())
    return Volume(array_of(image), affine_of(image), str(path), stack.grid, stack.series)


def read_ct(
    path: Path | str, stated: StatedHeader | None = None, *, any_integer: bool = False
) -> Stack:
    """Read a CT volume as stored on disk, as int16 HU, with header and intensity checks.

    Args:
        path: of the file or folder.
        stated: what a table says about the volume in place of its own header.
        any_integer: see `as_hu`.

    Raises:
        DataError: if the file is missing, damaged or not a CT volume in HU.
    """
    return as_hu(read_stack(path, stated), Path(path), any_integer=any_integer)


def to_ras(image: sitk.Image) -> sitk.Image:
    """Permute and flip the axes so that they run (nearly) to Right, Anterior, Superior."""
    return sitk.DICOMOrient(Stack.of(image).rounded().to_image(), "RAS")


def affine_of(image: sitk.Image) -> Float[np.ndarray, "4 4"]:
    """Return the NIfTI affine (voxel index to RAS+ mm) of a SimpleITK image."""
    return Stack.of(image).affine


def array_of(image: sitk.Image) -> Num[np.ndarray, "x y z"]:
    """Return the voxels as (x, y, z): one copy out of SimpleITK's memory, then a transposed view.

    The copy (3 ms for 224 x 224 x 112) is deliberate: a view would dangle once the image is gone.
    """
    return sitk.GetArrayFromImage(image).T


def grid_of(image: sitk.Image) -> VoxelGrid:
    """Return where the voxels of an image lie; take it before `to_ras` or `resample`."""
    return Stack.of(image).grid


def from_image(
    image: sitk.Image, source: str, native_grid: VoxelGrid | None = None, series: str = ""
) -> Volume:
    """Return a RAS-oriented int16 image as a `Volume`."""
    return Volume(array_of(image), affine_of(image), source, native_grid, series)


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
    direction = LPS_TO_RAS @ affine[:3, :3] / spacing
    origin = LPS_TO_RAS @ affine[:3, 3]
    return spacing.tolist(), direction.ravel().tolist(), origin.tolist()


def write_volume(
    path: Path | str,
    array: Shaped[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    *,
    shared: bool = False,
) -> None:
    """Write voxels and geometry, and nothing else, as NIfTI; whole or not at all.

    Args:
        path: of the file.
        array: voxels of any kind of number.
        affine: voxel index to RAS+ mm.
        shared: see `atomic_path`.

    Raises:
        OSError: if the place cannot be written to, or has no room.
    """
    image = to_image(array, affine)
    with atomic_path(Path(path), shared=shared) as temporary:
        temporary.touch()  # here the system says why it is not possible; SimpleITK does not
        try:
            with quietly():
                sitk.WriteImage(image, str(temporary), useCompression=True)
        except RuntimeError as error:
            raise OSError(f"{path}: could not be written") from error
        # On a full disk NIfTI's library writes what fits, and SimpleITK says nothing at all.
        expected = _NIFTI_BYTES + image.GetNumberOfPixels() * image.GetSizeOfPixelComponent()
        if (found := num_bytes(temporary, expected)) < expected:
            reason = f"only {found} of {expected} bytes could be written"
            raise OSError(errno.ENOSPC, reason, str(path))


def format_of(path: Path) -> str:
    """Return the name of a volume's format for the manifest, from its file name."""
    if path.is_dir():
        return "slices" if is_slice_folder(path) else "DICOM"
    return _FORMATS.get(Path(path.name.removesuffix(".gz")).suffix.lower(), "other")
