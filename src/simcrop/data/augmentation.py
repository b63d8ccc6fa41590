"""The random pipeline of training; every draw is a function of (seed, epoch, item).

Not of the process, the worker or the order of loading: the same sample comes out wherever and
whenever it is asked for, and no two items or epochs share their draws. (Upstream's workers all
drew the same values in every epoch: method.md 18.6.)
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int16

from simcrop.data.contract import Contract
from simcrop.data.preprocessing import Crop, Place, cut


def generator_for(seed: int, epoch: int, item: int) -> np.random.Generator:
    """Return the generator of one item in one epoch of a run; none of the three is negative."""
    return np.random.default_rng((seed, epoch, item))


def draw_place(
    shape: Sequence[int],
    contract: Contract,
    *,
    crop_scale: tuple[float, float],
    flip_probabilities: tuple[float, float, float],
    rng: np.random.Generator,
) -> Place:
    """Draw where a random crop of a volume of that shape lies; see `random_crop`."""
    low, high = crop_scale
    if not 0 < low <= high <= 1:
        raise ValueError(f"crop_scale {crop_scale} is not 0 < low <= high <= 1")
    box, offset = [], []
    for n, c in zip(shape, contract.crop_shape, strict=True):
        size = int(rng.integers(max(math.floor(low * n), 1), max(math.floor(high * n), 1) + 1))
        start = int(rng.integers(0, n - size + 1))
        start += int(rng.integers(0, max(size - c, 0) + 1))
        size = min(size, c)
        box.append(slice(start, start + size))
        offset.append((c - size) // 2)
    flips = np.flatnonzero(rng.random(3) < flip_probabilities).tolist()
    return Place((box[0], box[1], box[2]), (offset[0], offset[1], offset[2]), tuple(flips))


def random_crop(
    hu: Int16[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    contract: Contract,
    *,
    crop_scale: tuple[float, float] = (0.8, 1.0),
    flip_probabilities: tuple[float, float, float] = (0.0, 0.0, 0.0),
    rng: np.random.Generator,
) -> Crop:
    """Cut a random box of the volume, from it a random crop, pad up to size, flip.

    The box has a share of each axis drawn from `crop_scale`, independently, at a random place;
    axes that it does not fill are padded evenly, from the box alone.

    Differs: upstream flips all three axes with p = 0.2 under an unchanged report, so that "left"
    and "right" lose their meaning (method.md D-6). The default flips none.

    Args:
        hu: voxels in HU.
        affine: voxel index to RAS+ mm.
        contract: gives the crop and the padding.
        crop_scale: smallest and largest share of an axis, in (0, 1].
        flip_probabilities: of the x (left-right), y and z axis.
        rng: see `generator_for`.

    Raises:
        ValueError: if the shares are not in order within (0, 1].
    """
    place = draw_place(
        hu.shape, contract, crop_scale=crop_scale, flip_probabilities=flip_probabilities, rng=rng
    )
    return cut(hu, affine, place, contract)


def draw_shift(*, max_shift: float, probability: float, rng: np.random.Generator) -> float:
    """Draw, with a probability, a shift of normalised voxels within +-max_shift; else 0."""
    return 0.0 if rng.random() >= probability else float(rng.uniform(-max_shift, max_shift))
