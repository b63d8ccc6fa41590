"""What the network sees of a stored volume, in one pass over its voxels.

`cut`, `normalise` and `body_patches` one after the other move every voxel six times through memory.
Here a few sagittal planes at a time go once from the (mapped) volume through the processor's
cache: read, mirrored into the padding, counted as body or air, brought into the window, shifted.
The values are the same.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int16

from simcrop.data.body import AIR_HU as BODY_HU
from simcrop.data.body import MIN_SHARE
from simcrop.data.contract import Contract
from simcrop.data.preprocessing import Place, normalise_slab
from simcrop.data.volume_checks import AIR_HU

_PLANES = 16  # at once: few calls, and what they touch stays in the processor's cache


@dataclass(frozen=True, eq=False)
class View:
    """A crop in the window of the contract; `Crop` and `body_patches` say what the fields are.

    `is_mirrored` is True where left and right are exchanged.
    """

    voxels: Float32[np.ndarray, "x y z"]
    is_padding: Bool[np.ndarray, "x y z"]
    is_body: Bool[np.ndarray, " patches"]
    is_mirrored: bool = False


def view_of(
    hu: Int16[np.ndarray, "vx vy vz"], place: Place, contract: Contract, shift: float = 0.0
) -> View:
    """Return a crop of a volume, normalised and shifted.

    Args:
        hu: voxels in HU; only the box of the place is read.
        place: of the crop.
        contract: gives crop, window, padding and patches.
        shift: added to normalised voxels, padding too.
    """
    inside = np.flip(hu[place.box], place.flips)  # padding a mirror image is mirroring a padded one
    starts = [
        c - before - n if axis in place.flips else before
        for axis, (before, c, n) in enumerate(
            zip(place.offset, contract.crop_shape, inside.shape, strict=True)
        )
    ]
    filled = tuple(slice(start, start + n) for start, n in zip(starts, inside.shape, strict=True))
    is_padding = np.ones(contract.crop_shape, dtype=bool)
    is_padding[filled] = False
    voxels = np.empty(contract.crop_shape, dtype=np.float32)
    is_body = _fill(voxels, inside, filled, contract, np.float32(shift))
    return View(voxels, is_padding, is_body, 0 in place.flips)


def _fill(
    voxels: np.ndarray,
    inside: np.ndarray,
    filled: tuple[slice, ...],
    contract: Contract,
    shift: np.float32,
) -> Bool[np.ndarray, " patches"]:
    """Fill a crop, one row of patches along x after the other; return which patches are body."""
    along_x, *in_plane = filled
    mirrored = [_mirrored(part, n) for part, n in zip(filled, contract.crop_shape, strict=True)]
    slab = np.full((_PLANES, *contract.crop_shape[1:]), AIR_HU, dtype=np.int16)
    body = _BodyCounts(contract, in_plane)
    for row in range(body.num_rows):
        first, last = body.planes_of(row, along_x)
        block = inside[first - along_x.start : last - along_x.start]
        for at in range(0, len(block), _PLANES):
            part = block[at : at + _PLANES]
            planes, into = slab[: len(part)], voxels[first + at : first + at + len(part)]
            planes[:, *in_plane] = part
            body.count(row, planes)
            if contract.padding == "reflect":
                _reflect(planes, in_plane, mirrored[1:])
            normalise_slab(planes, contract, into)
            if shift:
                into += shift
    _fill_outside(voxels, along_x, mirrored[0], contract, shift)
    return body.is_body()


def _fill_outside(
    voxels: np.ndarray, filled: slice, mirrored: np.ndarray, contract: Contract, shift: np.float32
) -> None:
    """Fill the sagittal planes in which there is no voxel of the box."""
    for x in (*range(filled.start), *range(filled.stop, len(voxels))):
        if contract.padding == "reflect":
            voxels[x] = voxels[mirrored[x]]
        else:
            air = np.full((1, *voxels.shape[1:]), AIR_HU, dtype=np.int16)
            normalise_slab(air, contract, voxels[x : x + 1])
            voxels[x] += shift


def _mirrored(filled: slice, size: int) -> np.ndarray:
    """Return which filled place each place shows: itself, or that on the other side of a mirror."""
    n = filled.stop - filled.start
    place = np.abs(np.arange(size) - filled.start) % max(2 * (n - 1), 1)
    return np.where(place < n, place, 2 * (n - 1) - place) + filled.start


def _reflect(slab: np.ndarray, filled: list[slice], mirrored: list[np.ndarray]) -> None:
    """Mirror the filled part of every plane of a slab into the rest of it."""
    (y, z), (mirrored_y, mirrored_z) = filled, mirrored
    for to, source in _outside(z, mirrored_z):
        slab[:, y, to] = slab[:, y, source]
    for to, source in _outside(y, mirrored_y):
        slab[:, to] = slab[:, source]


def _outside(filled: slice, mirrored: np.ndarray) -> list[tuple[slice, slice | np.ndarray]]:
    """Return the places before and after the filled ones, and the filled ones that they show."""
    before, after = slice(0, filled.start), slice(filled.stop, len(mirrored))
    first, last = filled.start, filled.stop - 1
    if filled.start <= last - first and len(mirrored) - filled.stop <= last - first:  # one mirror
        stop = last - 1 - (after.stop - after.start)
        return [
            (before, slice(2 * first, first, -1)),
            (after, slice(last - 1, stop if stop >= 0 else None, -1)),
        ]
    return [(before, mirrored[before]), (after, mirrored[after])]


class _BodyCounts:
    """The number of voxels of body in every patch; padding does not count."""

    def __init__(self, contract: Contract, filled: list[slice]) -> None:
        self._grid = contract.patch_grid
        shape, self._thickness = contract.crop_shape[1:], contract.patch_shape[0]
        self._is_outside = np.ones(shape, dtype=bool)
        self._is_outside[*filled] = False
        self._above = np.empty((_PLANES, *shape), dtype=bool)
        kind = np.uint8 if self._thickness < 256 else np.uint32
        self._columns = np.zeros((self.num_rows, *shape), dtype=kind)

    @property
    def num_rows(self) -> int:
        """How many patches there are along x."""
        return self._grid.shape[0]

    def planes_of(self, row: int, filled: slice) -> tuple[int, int]:
        """Return the first filled plane of a row of patches, and the one after its last."""
        first, last = row * self._thickness, (row + 1) * self._thickness
        return max(first, filled.start), max(min(last, filled.stop), filled.start)

    def count(self, row: int, planes: Int16[np.ndarray, "x y z"]) -> None:
        """Count planes of a row of patches."""
        above = self._above[: len(planes)]
        np.greater(planes, BODY_HU, out=above)
        for plane in above.view(np.uint8):
            self._columns[row] += plane

    def is_body(self) -> Bool[np.ndarray, " patches"]:
        """Return which patches are body, when all planes are counted."""
        (gx, gy, gz), (_, py, pz) = self._grid.shape, self._grid.patch_shape
        self._columns[:, self._is_outside] = 0
        counts = self._columns.reshape(gx, gy, py, gz, pz).sum(axis=(2, 4), dtype=np.int64)
        return (counts >= MIN_SHARE * np.prod(self._grid.patch_shape)).ravel()
