"""Edits of a crop that should change what a sentence answers: a finding erased, sides exchanged.

Erasing fills the finding, and a margin around it that partial volume has blurred, with the HU of
the tissue beside it: each voxel gets that of the nearest voxel outside. So the fill is made of HU
that occur there, and no value is invented. The same is done to a region of the same shape moved to
a random place in the body, as a control: any edit disturbs a network a little.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import binary_dilation, distance_transform_edt

from simcrop.data.body import AIR_HU
from simcrop.data.preprocessing import Crop

MARGIN_VOXELS = 1
MIN_BODY_SHARE = 0.9  # of a moved region
NUM_PLACES = 64  # tried for a moved region
Mask = Bool[np.ndarray, "x y z"]


def erase(crop: Crop, mask: Mask, *, margin_voxels: int = MARGIN_VOXELS) -> Crop:
    """Return the crop with a region filled with the HU of the nearest voxels around it.

    Padding is no tissue and gives no HU. A mask that leaves nothing around it changes nothing.
    """
    erased = with_margin(mask, margin_voxels)
    is_source = ~erased & ~crop.is_padding
    if not erased.any() or not is_source.any():
        return crop
    box = _box_around(erased, margin_voxels + 2)
    if not is_source[box].any():
        box = (slice(None), slice(None), slice(None))
    nearest = distance_transform_edt(~is_source[box], return_distances=False, return_indices=True)  # type: ignore[misc]
    voxels = crop.voxels.copy()
    filled = voxels[box][tuple(nearest)]
    voxels[box] = np.where(erased[box], filled, voxels[box])
    return replace(crop, voxels=voxels)


def with_margin(mask: Mask, margin_voxels: int = MARGIN_VOXELS) -> Mask:
    """Return the mask with a margin of voxels that touch it by a face."""
    return binary_dilation(mask, iterations=margin_voxels) if margin_voxels else mask


def moved_region(crop: Crop, mask: Mask, generator: np.random.Generator) -> Mask | None:
    """Return the region at a random place of the body that it does not touch, or None.

    A place counts when at least `MIN_BODY_SHARE` of the region lies in voxels of the patient. A
    finding that fills the chest has no such place.
    """
    voxels = np.argwhere(mask)
    if not len(voxels):
        return None
    low, high = voxels.min(axis=0), voxels.max(axis=0)
    is_body = (crop.voxels > AIR_HU) & ~crop.is_padding
    taken = with_margin(mask, 2 * MARGIN_VOXELS)
    shape = np.array(mask.shape)
    for shift in generator.integers(-low, shape - high, size=(NUM_PLACES, 3)):
        place = tuple((voxels + shift).T)
        if not taken[place].any() and is_body[place].mean() >= MIN_BODY_SHARE:
            moved = np.zeros_like(mask)
            moved[place] = True
            return moved
    return None


def mirror(crop: Crop) -> Crop:
    """Return the crop with left and right exchanged, about its own middle; a situs inversus."""
    return replace(crop, voxels=crop.voxels[::-1].copy(), is_padding=crop.is_padding[::-1].copy())


def mirror_patches(values: np.ndarray, grid_shape: tuple[int, int, int]) -> np.ndarray:
    """Return patch values (..., patches) with left and right exchanged; its own inverse."""
    cells = values.reshape(*values.shape[:-1], *grid_shape)
    return np.flip(cells, axis=-3).reshape(values.shape)


def _box_around(mask: Mask, margin: int) -> tuple[slice, slice, slice]:
    voxels = np.argwhere(mask)
    low, high = voxels.min(axis=0) - margin, voxels.max(axis=0) + margin + 1
    x, y, z = (
        slice(max(int(a), 0), min(int(b), n)) for a, b, n in zip(low, high, mask.shape, strict=True)
    )
    return x, y, z
