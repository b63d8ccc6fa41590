"""Does a volume show lungs? A simple rule against heads, abdomens and phantoms of water.

Lung is what has the density of lung (-950 to -500 HU, the mean of a block of about 6 mm) and is
enclosed by tissue: tissue lies on at least three of its four sides in the axial plane. Three, since
a crop may cut through a lung. Air outside the patient and foam under the back have tissue on two
sides at most; gas in bowel and sinuses is lighter.
"""

import numpy as np
from jaxtyping import Float, Int16

from simcrop.errors import DataError, complain

MIN_LUNG_SHARE = 0.03  # of the tissue; whole chests have 0.19 to 0.39
_MIN_BODY_ML = 1000.0  # less tissue than a newborn's chest: too small a piece to judge
_BLOCK_MM = 6.0
_LUNG_HU = (-950.0, -500.0)
_TISSUE_HU = -300.0


def check_lungs(
    hu: Int16[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float], name: str
) -> None:
    """Refuse a volume with a body but without lungs.

    Args:
        hu: voxels in RAS order.
        spacing_mm: along x, y, z.
        name: of the volume, for the message.

    Raises:
        DataError: if there is a litre of tissue or more, and little lung beside it.
    """
    lung_ml, body_ml = lung_and_body_ml(hu, spacing_mm)
    if body_ml >= _MIN_BODY_ML and lung_ml < MIN_LUNG_SHARE * body_ml:
        raise DataError(
            complain(
                f"{name}: {lung_ml:.0f} ml of lung beside {body_ml / 1000:.1f} litres of tissue",
                f"a chest, whose lungs are {MIN_LUNG_SHARE:.0%} of that or more",
                "If it is meant to be there, prepare with --any-region.",
            ),
            "no_lungs",
        )


def lung_and_body_ml(
    hu: Int16[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float]
) -> tuple[float, float]:
    """Return the volume of lung and of denser tissue in millilitres (1000 mm3)."""
    blocks = _block_means(hu, spacing_mm)
    is_tissue = blocks > _TISSUE_HU
    is_lung = (blocks > _LUNG_HU[0]) & (blocks < _LUNG_HU[1]) & (_enclosing_sides(is_tissue) >= 3)
    block_ml = np.prod([mm * n for mm, n in zip(spacing_mm, _steps(spacing_mm), strict=True)]) / 1e3
    return float(is_lung.sum() * block_ml), float(is_tissue.sum() * block_ml)


def _steps(spacing_mm: tuple[float, float, float]) -> list[int]:
    """Return how many voxels a block has along each axis: an even number where it is above 1."""
    return [max(1, round(_BLOCK_MM / mm / 2) * 2) for mm in spacing_mm]


def _block_means(
    hu: Int16[np.ndarray, "x y z"], spacing_mm: tuple[float, float, float]
) -> Float[np.ndarray, "bx by bz"]:
    """Return the mean HU of every second voxel of each whole block; the far ends are left out."""
    strides = [2 if step > 1 else 1 for step in _steps(spacing_mm)]
    some = hu[:: strides[0], :: strides[1], :: strides[2]].T  # in the order of memory
    a, b, c = (n // stride for n, stride in zip(_steps(spacing_mm), strides, strict=True))
    z, y, x = (n // size for n, size in zip(some.shape, (c, b, a), strict=True))
    cut = some[: z * c, : y * b, : x * a].astype(np.float32)
    return cut.reshape(z, c, y, b, x, a).mean(axis=(1, 3, 5)).T


def _enclosing_sides(is_tissue: np.ndarray) -> np.ndarray:
    """Return on how many of the four sides along x and y each block has tissue."""
    sides = np.zeros(is_tissue.shape, dtype=np.int8)
    for axis in (0, 1):
        sides += np.maximum.accumulate(is_tissue, axis=axis)
        sides += np.flip(np.maximum.accumulate(np.flip(is_tissue, axis), axis=axis), axis)
    return sides
