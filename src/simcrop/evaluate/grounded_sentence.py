"""A sentence with a mask, its similarity map, and the maps that it is compared with."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

OWN, SWAPPED = "own", "swapped"


@dataclass(frozen=True, eq=False)
class GroundedSentence:
    """A sentence with a mask, its map, and the maps that it is compared with.

    Attributes:
        label: the finding that the sentence is about; figures are reported per label.
        maps: one value per patch; `own` is the similarity with the study's own volume, the
            others are the controls that `simcrop.evaluate.grounding` names.
        mask_share: share of each patch's voxels that lie in the mask, in [0, 1].
        is_body: the candidate patches of the own volume, those that pre-training may select;
            all maps are judged on these.
        distance_mm: from the centre of each patch to the nearest voxel of the mask, 0 inside.
        depth_mm: from the centre of each patch to the middle of the mask, along the body.
        is_diffuse: whether the finding is spread through an organ or a cavity.
        is_negated: whether the sentence denies the finding that the mask shows.
    """

    study_id: str
    patient_id: str
    label: str
    sentence: str
    maps: Mapping[str, Float[np.ndarray, " patches"]]
    mask_share: Float[np.ndarray, " patches"]
    is_body: Bool[np.ndarray, " patches"]
    distance_mm: Float[np.ndarray, " patches"]
    depth_mm: Float[np.ndarray, " patches"]
    volume_id: str = ""
    mask_path: str = ""
    is_diffuse: bool = False
    is_negated: bool = False

    @property
    def has_target(self) -> bool:
        """Return whether the mask holds a body patch of the crop."""
        return bool((self.mask_share * self.is_body).any())
