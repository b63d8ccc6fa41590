"""Masks of a store on the network's grid of patches: which patches, and how far off."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from scipy.spatial import KDTree

from simcrop.data.preprocessing import Crop, center_crop
from simcrop.data.store import Store
from simcrop.evaluate.map_figures import target_patches
from simcrop.evaluate.position_maps import TrainingMask
from simcrop.evaluate.prompts import PROMPTS
from simcrop.train.pretrained import Pretrained

NO_LABEL = "finding"  # of a mask whose table has no label
DIFFUSE_MM = 100.0  # longest side of a mask, from which an unlisted finding counts as diffuse


class MaskGeometry(NamedTuple):
    """A mask and its distances, patch by patch.

    Attributes:
        share: of each patch's voxels that lie in the mask.
        distance_mm: from the patch's centre to the nearest voxel of the mask, 0 inside.
        depth_mm: from the patch's centre to the middle of the mask, along z.
        longest_mm: longest side of the box around the mask.
    """

    share: Float[np.ndarray, " patches"]
    distance_mm: Float[np.ndarray, " patches"]
    depth_mm: Float[np.ndarray, " patches"]
    longest_mm: float


def masks_with_sentences(store: Store, volumes: Sequence[str]) -> pd.DataFrame:
    """Return the masks of volumes, each with a label and a sentence.

    A mask with a label alone gets the finding's first wording of the packaged prompts, one with
    neither label nor wording is left out.

    Raises:
        DataError: if the store has no masks.
    """
    table = store.need_masks()
    table = table[table["volume_id"].isin(set(volumes))].copy()
    for column in ("sentence", "label"):
        if column not in table:
            table[column] = ""
    wording = {label: prompts.positive[0] for label, prompts in PROMPTS.items()}
    stated = table["label"].map(wording).fillna("")
    table["sentence"] = table["sentence"].where(table["sentence"] != "", stated)
    table["label"] = table["label"].where(table["label"] != "", NO_LABEL)
    return table[table["sentence"] != ""].reset_index(drop=True)


def is_diffuse(label: str, geometry: MaskGeometry) -> bool:
    """Return whether a finding is spread through an organ or a cavity.

    The list of the packaged prompts says so; for findings that are not on it, the size of the mask.
    """
    extent = PROMPTS[label].extent if label in PROMPTS else ""
    return extent == "diffuse" if extent else geometry.longest_mm >= DIFFUSE_MM


def read_crop(store: Store, volume: str, pretrained: Pretrained) -> Crop:
    """Return the crop of a stored volume that the network sees."""
    return center_crop(*store.read_hu(volume), pretrained.contract)


def crop_mask(store: Store, path: str, pretrained: Pretrained) -> Bool[np.ndarray, "x y z"]:
    """Return a stored mask on the crop of its volume; False in the padding."""
    crop = center_crop(store.read_mask(path).astype(np.int16), np.eye(4), pretrained.contract)
    return (crop.voxels > 0) & ~crop.is_padding


def mask_share(
    mask: Bool[np.ndarray, "x y z"], pretrained: Pretrained
) -> Float[np.ndarray, " patches"]:
    """Return the share of each patch that lies in a mask of the crop."""
    return pretrained.grid.share(torch.from_numpy(mask)).numpy()


def mask_geometry(mask: Bool[np.ndarray, "x y z"], pretrained: Pretrained) -> MaskGeometry:
    """Return shares and distances of a mask of the crop; infinite distances for an empty one."""
    grid, spacing = pretrained.grid, np.array(pretrained.contract.spacing_mm)
    share = mask_share(mask, pretrained)
    centers = grid.centers_mm(np.diag([*spacing, 1.0]))
    voxels = np.argwhere(mask)
    if not len(voxels):
        nowhere = np.full(grid.num_patches, np.inf)
        return MaskGeometry(share, nowhere, nowhere, 0.0)
    distance, _ = KDTree(voxels * spacing).query(centers)
    is_inside = mask[tuple(np.floor(centers / spacing).astype(int).T)]
    depth = np.abs(centers[:, 2] - voxels[:, 2].mean() * spacing[2])
    longest = float(((np.ptp(voxels, axis=0) + 1) * spacing).max())
    return MaskGeometry(share, np.where(is_inside, 0.0, distance), depth, longest)


def training_masks(store: Store, pretrained: Pretrained) -> Iterator[TrainingMask]:
    """Yield the masks of the training part, for maps that know no image.

    Raises:
        DataError: if the store has no masks.
    """
    patient_of = store.volumes["patient_id"]
    for row in masks_with_sentences(store, store.volume_ids("train")).to_dict("records"):
        share = mask_share(crop_mask(store, row["path"], pretrained), pretrained)
        everywhere = np.ones(len(share), dtype=bool)  # reading the volumes as well would be slow
        yield TrainingMask(
            str(patient_of[row["volume_id"]]),
            row["label"],
            row["sentence"],
            target_patches(share, everywhere),
        )
