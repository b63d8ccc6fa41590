"""A coarse chest: tissue around two lungs, in air, so that every check has something to see."""

import numpy as np
import SimpleITK as sitk  # noqa: N813

from simcrop.data.contract import Contract

CONTRACT = Contract(spacing_mm=(6.0, 6.0, 9.0), crop_shape=(48, 48, 32), patch_shape=(8, 8, 8))


def chest() -> sitk.Image:
    """48 x 44 x 30 voxels of 6 x 6 x 9 mm in RAS order: air, tissue, lungs, a bone, and noise."""
    x, y, z = np.meshgrid(np.arange(48) - 23.5, np.arange(44) - 21.5, np.arange(30) - 14.5,
                          indexing="ij")  # fmt: skip
    hu = np.full(x.shape, -1000, dtype=np.int16)
    hu[(x / 21) ** 2 + (y / 17) ** 2 < 1] = 40
    for side in (-9.5, 9.5):
        hu[((x - side) / 7) ** 2 + (y / 12) ** 2 + (z / 13) ** 2 < 1] = -850
    hu[(abs(x) < 2) & (abs(y + 12) < 2)] = 700
    hu += np.random.default_rng(0).integers(-12, 13, hu.shape, dtype=np.int16)
    image = sitk.GetImageFromArray(np.ascontiguousarray(hu.T))
    image.SetSpacing((6.0, 6.0, 9.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    image.SetOrigin((140.0, 130.0, -120.0))
    return image
