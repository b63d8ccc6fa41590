"""Crops of volumes with their label maps, for training a segmentation network.

A crop is a function of (store, seed, epoch, volume, number). Half of the crops of a volume have a
voxel of a class at their centre, half one of background, as in the authors' training
(method.md, section 12).

Differs: the authors draw background centres where HU > 0 only, never in lung or air (18.21); here
they are any background voxel above the lower end of the window. They flip left and right under
unchanged labels (18.22); here the labels of paired classes are exchanged, and where a class has a
side but no partner there is no such flip.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int, Int16, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from simcrop.data.augmentation import draw_shift, generator_for
from simcrop.data.contract import Contract
from simcrop.data.label_maps import Classes
from simcrop.data.preprocessing import crop_at, normalise
from simcrop.data.samples import SkippedStudy
from simcrop.data.store import Store
from simcrop.geometry import Shape3


@dataclass(frozen=True)
class SegmentationAugmentation:
    """Ranges of the random changes; see `simcrop.config.SegmentationAugmentationConfig`."""

    flip_probability: tuple[float, float, float]
    scale_probability: float
    scale_range: float
    shift_probability: float
    shift_range: float


@dataclass(frozen=True)
class CropBatch:
    """Crops side by side, in [-1, 1], and the class of each of their voxels.

    `skipped` names studies that could not be read for it.
    """

    voxels: Float[Tensor, "batch 1 x y z"]
    classes: Int[Tensor, "batch 1 x y z"]
    skipped: tuple[SkippedStudy, ...] = ()

    def to(self, device: torch.device) -> "CropBatch":
        """Return the batch on a device."""
        return replace(self, voxels=self.voxels.to(device), classes=self.classes.to(device))


class CropDataset(Dataset[CropBatch]):
    """The labelled volumes of a store, indexed by (epoch, position).

    Args:
        store: where volumes and label maps are.
        volumes: volume ids, in the order of the positions.
        contract: window and crop.
        classes: of the label maps.
        seed: of the run.
        crops_per_volume: crops of each volume and epoch.
        augmentation: what is changed at random.
        keep_in_memory: keep volumes and label maps after the first read.
    """

    def __init__(
        self,
        store: Store,
        volumes: Sequence[str],
        contract: Contract,
        classes: Classes,
        *,
        seed: int,
        crops_per_volume: int,
        augmentation: SegmentationAugmentation,
        keep_in_memory: bool = False,
    ) -> None:
        self.store = store
        self.volumes = list(volumes)
        self.contract = contract
        self.classes = classes
        self.seed = seed
        self.crops_per_volume = crops_per_volume
        self.augmentation = augmentation
        self._kept: dict[str, tuple[np.ndarray, np.ndarray]] | None = {} if keep_in_memory else None

    @property
    def studies(self) -> list[str]:
        """Study ids in the order of the positions."""
        return [self.store.study_of(volume) for volume in self.volumes]

    def __len__(self) -> int:
        return len(self.volumes)

    def __getitem__(self, index: tuple[int, int]) -> CropBatch:
        epoch, position = index
        rng = generator_for(self.seed, epoch, position)
        hu, classes = self.read(self.volumes[position])
        crops = [self._crop(hu, classes, start, rng) for start in self._starts(hu, classes, rng)]
        voxels, labels = zip(*crops, strict=True)
        return CropBatch(
            torch.from_numpy(np.stack(voxels))[:, None],
            torch.from_numpy(np.stack(labels).astype(np.int64))[:, None],
        )

    def read(self, volume: str) -> tuple[Int16[np.ndarray, "x y z"], UInt8[np.ndarray, "x y z"]]:
        """Return a volume in HU and the class of every voxel."""
        if self._kept is not None and volume in self._kept:
            return self._kept[volume]
        hu, _ = self.store.read_hu(volume)
        pair = hu, self.classes.index(self.store.read_anatomy(volume), f"label map of {volume}")
        if self._kept is not None:
            self._kept[volume] = pair
        return pair

    def _starts(
        self, hu: np.ndarray, classes: np.ndarray, rng: np.random.Generator
    ) -> list[Shape3]:
        """Return the first voxel of every crop: around a class, around background, in turn."""
        inside = np.flatnonzero(classes)
        outside = np.flatnonzero((classes == 0) & (hu > self.contract.window_hu[0]))
        starts = []
        for number in range(self.crops_per_volume):
            candidates = (inside, outside)[number % 2]
            if not len(candidates):
                candidates = (inside, outside)[1 - number % 2]
            voxel = (
                candidates[rng.integers(len(candidates))] if len(candidates) else classes.size // 2
            )
            center = np.unravel_index(voxel, classes.shape)
            starts.append(_start(center, classes.shape, self.contract.crop_shape))
        return starts

    def _crop(
        self, hu: np.ndarray, classes: np.ndarray, start: Shape3, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the normalised voxels and the classes of one crop after the random changes."""
        crop = crop_at(hu, np.eye(4), start, self.contract)
        labels = crop_labels(classes, start, self.contract.crop_shape)
        settings, mirrored = self.augmentation, self.classes.mirrored
        wanted = (rng.random(3) < settings.flip_probability).tolist()
        flips = tuple(axis for axis in range(3) if wanted[axis] and (axis or mirrored))
        if 0 in flips:
            labels = np.array(mirrored, dtype=np.uint8)[labels]
        scale = 1 + draw_shift(
            max_shift=settings.scale_range, probability=settings.scale_probability, rng=rng
        )
        shift = draw_shift(
            max_shift=settings.shift_range, probability=settings.shift_probability, rng=rng
        )
        voxels = normalise(crop.voxels, self.contract) * np.float32(scale) + np.float32(shift)
        return np.flip(voxels, flips).copy(), np.flip(labels, flips).copy()


def crop_labels(
    classes: UInt8[np.ndarray, "x y z"], start: Shape3, crop_shape: Shape3
) -> UInt8[np.ndarray, "cx cy cz"]:
    """Return the classes of a crop whose first voxel is `start`; background beyond the volume."""
    cropped = np.zeros(crop_shape, dtype=np.uint8)
    source, target = [], []
    for s, c, n in zip(start, crop_shape, classes.shape, strict=True):
        low, high = max(s, 0), min(s + c, n)
        source.append(slice(low, high))
        target.append(slice(low - s, high - s))
    cropped[tuple(target)] = classes[tuple(source)]
    return cropped


def join_crops(batches: list[CropBatch]) -> CropBatch:
    """Return the crops of several volumes as one batch."""
    return CropBatch(
        torch.cat([batch.voxels for batch in batches]),
        torch.cat([batch.classes for batch in batches]),
        tuple(study for batch in batches for study in batch.skipped),
    )


def _start(center: Sequence[np.intp], shape: Shape3, crop_shape: Shape3) -> Shape3:
    """Return where a crop starts so that it lies in the volume, or evenly around a smaller one."""
    x, y, z = (
        min(max(int(at) - c // 2, 0), n - c) if n >= c else (n - c) // 2
        for at, n, c in zip(center, shape, crop_shape, strict=True)
    )
    return x, y, z
