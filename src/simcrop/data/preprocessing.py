"""The deterministic pipeline that a contract describes; `native.py` holds the way back.

`prepare_volume` is what `simcrop prepare` stores: read, orient to RAS, resample once. `center_crop`
and `normalise` are what the network then sees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Bool, Float, Float32, Int16, Integer

from simcrop.data.antialiasing import average
from simcrop.data.contract import Contract
from simcrop.data.stack import Stack
from simcrop.data.stated import StatedHeader
from simcrop.data.trilinear import interpolate
from simcrop.data.volume import Volume, read_ct, to_image
from simcrop.data.volume_checks import AIR_HU
from simcrop.errors import DataError, complain
from simcrop.geometry import Shape3

_RAS_DIRECTION = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)  # of axes, in the LPS world
_MIN_AXIS_SHARE, _MIN_CROP_SHARE = 0.25, 0.125


@dataclass(frozen=True)
class Place:
    """Where a crop lies: which box of the volume it shows, and where in the crop the box is.

    Attributes:
        box: of the volume, not empty.
        offset: of the box in the crop; what the box does not fill is padded.
        flips: axes of the crop that are reversed in the end.
    """

    box: tuple[slice, slice, slice]
    offset: Shape3
    flips: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Crop:
    """The block of a volume that the network sees.

    Attributes:
        voxels: HU.
        affine: index of the crop's voxels to RAS+ mm. Where the crop is padded, its first voxel
            lies outside the volume.
        is_padding: True where no voxel of the volume was there and padding fills the place.
    """

    voxels: Int16[np.ndarray, "x y z"]
    affine: Float[np.ndarray, "4 4"]
    is_padding: Bool[np.ndarray, "x y z"]


def prepare_volume(
    path: Path | str, contract: Contract, stated: StatedHeader | None = None
) -> Volume:
    """Read a volume of any format onto the contract's grid: exactly what `prepare` stores.

    Raises:
        DataError: if the file is missing, damaged or not a CT volume in HU.
    """
    stack = read_ct(path, stated, any_integer=True)
    voxels, affine = _onto_grid(stack.rounded(), contract)
    return Volume(voxels.T, affine, str(path), stack.grid, stack.series)


def check_extent(volume: Volume, contract: Contract) -> None:
    """Refuse a prepared volume that fills so little of the crop that padding would be the rest.

    Padding by reflection fills what a volume does not (method.md 3.1); below a quarter of an axis,
    or an eighth of the crop, the network would see little but mirror images.

    Raises:
        DataError: if the volume is that small.
    """
    shares = [min(1, n / c) for n, c in zip(volume.shape, contract.crop_shape, strict=True)]
    if min(shares) < _MIN_AXIS_SHARE or math.prod(shares) < _MIN_CROP_SHARE:
        size, crop = (
            " x ".join(f"{n * mm:.0f}" for n, mm in zip(shape, contract.spacing_mm, strict=True))
            for shape in (volume.shape, contract.crop_shape)
        )
        raise DataError(
            complain(
                f"{volume.source}: {size} mm in view, {math.prod(shares):.0%} of the crop",
                f"at least {_MIN_AXIS_SHARE:.0%} of each axis of {crop} mm and "
                f"{_MIN_CROP_SHARE:.1%} of the whole",
                "Take a volume of the whole chest, or a smaller volume.crop_shape.",
            ),
            "smaller_than_crop",
        )


def resample(image: sitk.Image, contract: Contract) -> sitk.Image:
    """Resample an integer HU image of any orientation onto the contract's grid in RAS order.

    The grid is aligned with the patient's axes. The outer corner of its first voxel is the lowest
    (left, posterior, inferior) outer corner of the volume, and along each axis it has
    floor(extent / spacing) voxels, at least one (method.md 3.1). Values are trilinear at the new
    voxel centres, within the outermost half voxel those of the edge, beyond it -1024; rounded to
    whole HU. `antialiased` averages what lies within one new voxel width instead. A volume already
    on such a grid is returned with its voxels untouched.

    An oblique volume is covered by the box around its corners, so nothing is cut off. The geometry
    is rounded (`Stack.rounded`).
    """
    voxels, affine = _onto_grid(Stack.of(image).rounded(), contract)
    return to_image(voxels.T, affine)


def _onto_grid(
    stack: Stack, contract: Contract
) -> tuple[Int16[np.ndarray, "new_z new_y new_x"], Float[np.ndarray, "4 4"]]:
    """Return the voxels on the contract's grid and their affine; see `resample`."""
    lowest, extent = _extent_ras(stack)
    spacing = np.array(contract.spacing_mm)
    shape = np.maximum(np.floor(extent / spacing + 1e-6), 1).astype(int)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = lowest + spacing / 2
    is_averaged = contract.interpolation == "antialiased"
    if not _is_aligned(stack):
        # first onto the patient's axes; to average, about as fine as it is
        old_spacing = _along_patient(stack)[1]
        parts = np.maximum(np.round(spacing / old_spacing), 1).astype(int) if is_averaged else 1
        stack = Stack.of(_turn(stack.to_image(), lowest, shape * parts, spacing / parts))
    voxels, old_spacing = _along_patient(stack)
    if np.allclose(old_spacing, spacing, rtol=0, atol=1e-6):
        return np.array(voxels.T, dtype=np.int16, order="C"), affine
    method = average if is_averaged else interpolate
    return method(voxels.T, old_spacing[::-1], shape[::-1].tolist(), spacing[::-1]), affine


def _turn(
    image: sitk.Image, lowest: np.ndarray, shape: np.ndarray, spacing: np.ndarray
) -> sitk.Image:
    """Return the trilinear values of an oblique image on a grid along the patient's axes."""
    origin = (lowest + spacing / 2) * (-1, -1, 1)
    # ITK truncates towards zero when it writes integers, hence float first and an honest rounding.
    resampled = sitk.Resample(
        image, shape.tolist(), sitk.Transform(), sitk.sitkLinear,
        origin.tolist(), spacing.tolist(), _RAS_DIRECTION, float(AIR_HU), sitk.sitkFloat32,
    )  # fmt: skip
    return sitk.Cast(sitk.Round(resampled), sitk.sitkInt16)


def resample_mask(mask: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """Resample a mask or label map (nearest voxel, 0 outside) onto the grid of `reference`."""
    return sitk.Resample(mask, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0.0)


def center_crop(
    hu: Int16[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"], contract: Contract
) -> Crop:
    """Cut the centre of a volume to the contract's crop; pad evenly where it is smaller."""
    return cut(hu, affine, center_place(hu.shape, contract), contract)


def center_place(shape: Sequence[int], contract: Contract) -> Place:
    """Return where the centre crop of a volume of that shape lies."""
    start = [int((n - c) / 2) for n, c in zip(shape, contract.crop_shape, strict=True)]
    return _place_at(shape, (start[0], start[1], start[2]), contract)


def crop_at(
    hu: Int16[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    start: Shape3,
    contract: Contract,
) -> Crop:
    """Cut a crop whose first voxel is voxel `start` of the volume; it may be negative.

    Raises:
        ValueError: if the crop does not touch the volume.
    """
    return cut(hu, affine, _place_at(hu.shape, start, contract), contract)


def _place_at(shape: Sequence[int], start: Shape3, contract: Contract) -> Place:
    stop = [s + c for s, c in zip(start, contract.crop_shape, strict=True)]
    box = tuple(slice(max(s, 0), min(e, n)) for s, e, n in zip(start, stop, shape, strict=True))
    if any(part.stop <= part.start for part in box):
        raise ValueError(f"a crop from {start} to {tuple(stop)} misses a volume of {shape}")
    offset = [max(-s, 0) for s in start]
    return Place((box[0], box[1], box[2]), (offset[0], offset[1], offset[2]))


def cut(
    hu: Int16[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    place: Place,
    contract: Contract,
) -> Crop:
    """Put a box of the volume into a crop and pad around it from the box alone.

    `reflect` mirrors at the box's outermost voxels, again and again if the box is small.
    """
    inside = hu[place.box]
    widths = [
        (before, c - before - n)
        for before, c, n in zip(place.offset, contract.crop_shape, inside.shape, strict=True)
    ]
    if contract.padding == "reflect":
        voxels = np.pad(inside, widths, mode="reflect")
    else:
        voxels = np.pad(inside, widths, constant_values=AIR_HU)
    is_padding = np.ones(contract.crop_shape, dtype=bool)
    filled = zip(place.offset, inside.shape, strict=True)
    is_padding[tuple(slice(before, before + n) for before, n in filled)] = False
    to_volume = np.eye(4)
    to_volume[:3, 3] = [p.start - before for p, before in zip(place.box, place.offset, strict=True)]
    for axis in place.flips:  # the affine follows, so that every voxel stays where it is
        reverse = np.eye(4)
        reverse[axis, axis], reverse[axis, 3] = -1, contract.crop_shape[axis] - 1
        to_volume = to_volume @ reverse
    if place.flips:
        voxels, is_padding = (np.flip(a, place.flips).copy() for a in (voxels, is_padding))
    return Crop(voxels, affine @ to_volume, is_padding)


def normalise(hu: Int16[np.ndarray, "x y z"], contract: Contract) -> Float32[np.ndarray, "x y z"]:
    """Clip HU to the contract's window and map it linearly to [-1, 1]."""
    voxels = np.empty(hu.shape, dtype=np.float32)
    for x in range(len(hu)):  # each plane stays in the processor's cache
        normalise_slab(hu[x : x + 1], contract, voxels[x : x + 1])
    return voxels


def normalise_slab(
    hu: Int16[np.ndarray, "x y z"], contract: Contract, into: Float32[np.ndarray, "x y z"]
) -> None:
    """Write what `normalise` makes of a few sagittal planes."""
    low, high = contract.window_hu
    into[:] = hu
    np.clip(into, low, high, out=into)
    into -= (low + high) / 2
    into *= 2 / (high - low)


def _extent_ras(stack: Stack) -> tuple[np.ndarray, np.ndarray]:
    """Return the lowest outer corner in RAS mm and the size in mm of the box around a stack."""
    ends = [(-0.5, n - 0.5) for n in stack.grid.shape]
    corners = np.stack(np.meshgrid(*ends), -1).reshape(-1, 3)
    points = corners @ stack.affine[:3, :3].T + stack.affine[:3, 3]
    return points.min(axis=0), np.ptp(points, axis=0)


def _along_patient(stack: Stack) -> tuple[Integer[np.ndarray, "x y z"], np.ndarray]:
    """Return a view of the voxels whose axes run (nearly) as the patient's, and their spacing.

    It lives no longer than the stack. `to_ras` would copy what may be 150 MB.
    """
    directions = stack.affine[:3, :3]  # rows are the patient's axes, columns the stack's
    axes = np.abs(directions / stack.spacing_mm).argmax(axis=1)
    flips = tuple(slice(None, None, -1 if directions[i, axis] < 0 else 1)
                  for i, axis in enumerate(axes))  # fmt: skip
    return stack.voxels.T.transpose(axes)[flips], np.array(stack.spacing_mm)[axes]


def _is_aligned(stack: Stack) -> bool:
    """Return whether the axes are the patient's, in any order and direction."""
    direction = np.array(stack.direction)
    # off by less than 1e-4: 0.04 mm from end to end of a chest
    return np.allclose(direction, np.round(direction), rtol=0, atol=1e-4)
