"""Which patches hold the patient: the candidates of a sentence (D-5).

Encoders use patches of plain air as scratch space, and a sentence that may select them soon
points at nothing (phantoms: the best patch was air for half to 85 % of sentences). One rule
serves training, similarity maps and the evaluation of grounding.
"""

import numpy as np
import torch
from jaxtyping import Bool

from simcrop.data.preprocessing import Crop
from simcrop.geometry import PatchGrid

AIR_HU = -900.0
MIN_SHARE = 0.25


def body_patches(
    crop: Crop, grid: PatchGrid, *, threshold_hu: float = AIR_HU, min_share: float = MIN_SHARE
) -> Bool[np.ndarray, " patches"]:
    """Return which patches of a crop are worth selecting.

    A patch counts when at least `min_share` of its voxels lie above `threshold_hu` and are no
    padding. Lung counts, emphysematous lung too, for its vessels and noise; air around the patient
    (-1000 HU) does not.
    """
    is_body = torch.from_numpy((crop.voxels > threshold_hu) & ~crop.is_padding)
    return (grid.share(is_body) >= min_share).numpy()
