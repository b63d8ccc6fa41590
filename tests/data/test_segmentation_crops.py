"""Crops with labels: what is drawn, what a flip does, and that nothing depends on the worker."""

import numpy as np
import pytest
import torch

from simcrop.data.contract import Contract
from simcrop.data.label_maps import Classes
from simcrop.data.segmentation_crops import (
    CropDataset,
    SegmentationAugmentation,
    crop_labels,
    join_crops,
)
from simcrop.data.store import Store

CONTRACT = Contract(
    spacing_mm=(2.0, 2.0, 2.0), crop_shape=(8, 8, 8), patch_shape=(4, 4, 4), padding="air"
)
PAIRED = Classes.of({1: "left lung", 2: "right lung", 3: "trachea"})
NOTHING = SegmentationAugmentation((0.0, 0.0, 0.0), 0.0, 0.0, 0.0, 0.0)


def flipping(*axes: int) -> SegmentationAugmentation:
    return SegmentationAugmentation(
        tuple(float(axis in axes) for axis in range(3)), 0.0, 0.0, 0.0, 0.0
    )


def volume_of(shape=(24, 20, 16)) -> tuple[np.ndarray, np.ndarray]:
    """HU that name their voxel, and labels of two lungs and a trachea."""
    hu = np.arange(np.prod(shape), dtype=np.int16).reshape(shape) % 900
    labels = np.zeros(shape, dtype=np.uint8)
    labels[2:5, 4:8, 4:8] = 1
    labels[-5:-2, 4:8, 4:8] = 2
    labels[11:13, 9:11, 2:9] = 3
    return hu, labels


class OneVolume(Store):
    """A store whose volumes are all the same."""

    def __init__(self, hu: np.ndarray, labels: np.ndarray) -> None:
        self.hu, self.labels = hu, labels

    def read_hu(self, volume_id):
        return self.hu, np.eye(4)

    def read_anatomy(self, volume_id):
        return self.labels


def dataset(classes=PAIRED, augmentation=NOTHING, pair=None, crops=6, **options) -> CropDataset:
    return CropDataset(
        OneVolume(*(pair or volume_of())), ["a", "b"], CONTRACT, classes, seed=3,
        crops_per_volume=crops, augmentation=augmentation, **options,
    )  # fmt: skip


def test_crops_are_a_function_of_seed_epoch_and_volume():
    data = dataset(augmentation=SegmentationAugmentation((0.5, 0.5, 0.5), 0.5, 0.1, 0.5, 0.1))
    first, again, later, other = (data[i] for i in ((0, 0), (0, 0), (1, 0), (0, 1)))
    assert torch.equal(first.voxels, again.voxels)
    assert torch.equal(first.classes, again.classes)
    assert not torch.equal(first.voxels, later.voxels)
    assert not torch.equal(first.voxels, other.voxels)


def test_every_other_crop_is_centred_on_a_class():
    hu, labels = np.zeros((40, 40, 40), dtype=np.int16), np.zeros((40, 40, 40), dtype=np.uint8)
    labels[20, 20, 20] = 3
    found = dataset(pair=(hu, labels))[0, 0].classes
    assert [int(crop[0, 4, 4, 4]) for crop in found[::2]] == [3, 3, 3]
    assert [int(crop[0, 4, 4, 4]) for crop in found[1::2]] == [0, 0, 0]


def test_background_crops_may_lie_in_the_lung_but_not_in_the_air_around():
    hu, labels = np.full((40, 40, 40), -1024, dtype=np.int16), np.zeros((40, 40, 40), np.uint8)
    hu[20, 20, 20], labels[0, 0, 0] = -850, 1
    crop = dataset(pair=(hu, labels))[0, 0].voxels[1, 0]
    assert crop[4, 4, 4] == pytest.approx(-0.85)


def test_volumes_without_a_class_or_without_background_give_crops():
    for value in (0, 1):
        labels = np.full((16, 16, 16), value, dtype=np.uint8)
        batch = dataset(pair=(np.zeros((16, 16, 16), dtype=np.int16), labels))[0, 0]
        assert (batch.classes == value).all()


def test_left_right_flips_exchange_the_sides_and_nothing_else():
    """A flipped volume with exchanged labels is the volume of a mirrored patient."""
    hu, labels = volume_of()
    plain = dataset(pair=(hu, labels))[0, 0]
    flipped = dataset(pair=(hu, labels), augmentation=flipping(0))[0, 0]
    assert torch.equal(flipped.voxels, plain.voxels.flip(2))
    exchanged = torch.tensor([0, 2, 1, 3])[plain.classes.flip(2)]
    assert torch.equal(flipped.classes, exchanged)
    assert {1, 2} <= set(plain.classes.unique().tolist())


def test_flips_of_other_axes_keep_the_labels():
    plain = dataset()[0, 0]
    flipped = dataset(augmentation=flipping(1, 2))[0, 0]
    assert torch.equal(flipped.voxels, plain.voxels.flip(3, 4))
    assert torch.equal(flipped.classes, plain.classes.flip(3, 4))


def test_left_right_flips_are_off_where_a_side_has_no_partner():
    classes = Classes.of({1: "left lung", 2: "heart", 3: "trachea"})
    plain, asked = dataset(classes)[0, 0], dataset(classes, flipping(0))[0, 0]
    assert torch.equal(plain.voxels, asked.voxels)
    assert torch.equal(plain.classes, asked.classes)


def test_intensities_are_scaled_and_shifted_but_labels_are_not():
    settings = SegmentationAugmentation((0.0, 0.0, 0.0), 1.0, 0.1, 1.0, 0.1)
    plain, changed = dataset()[0, 0], dataset(augmentation=settings)[0, 0]
    assert torch.equal(plain.classes, changed.classes)
    for before, after in zip(plain.voxels, changed.voxels, strict=True):
        design = torch.stack([before.flatten(), torch.ones(before.numel())], dim=1)
        scale, shift = torch.linalg.lstsq(design, after.flatten()[:, None]).solution.flatten()
        assert 0.9 - 1e-4 <= scale <= 1.1 + 1e-4
        assert abs(shift) <= 0.1 + 1e-4


def test_small_volumes_lie_in_the_middle_of_air():
    hu, labels = np.zeros((4, 16, 6), dtype=np.int16), np.ones((4, 16, 6), dtype=np.uint8)
    batch = dataset(pair=(hu, labels), crops=1)[0, 0]
    assert (batch.classes[0, 0, 2:6, :, 1:7] == 1).all()
    assert int(batch.classes.sum()) == 4 * 8 * 6
    assert batch.voxels[0, 0, 0, 0, 0] == -1.0


def test_labels_are_cut_like_voxels():
    _, labels = volume_of()
    padded = np.pad(labels, 8)
    for start in ((-3, 0, 4), (20, 15, 12), (3, 4, 5)):
        box = tuple(slice(s + 8, s + 16) for s in start)
        np.testing.assert_array_equal(crop_labels(labels, start, (8, 8, 8)), padded[box])


def test_volumes_are_kept_in_memory_where_asked():
    data = dataset(keep_in_memory=True)
    first = data.read("a")
    assert data.read("a")[0] is first[0]


def test_crops_of_several_volumes_make_one_batch():
    data = dataset()
    batch = join_crops([data[0, 0], data[0, 1]])
    assert batch.voxels.shape == batch.classes.shape == (12, 1, 8, 8, 8)
    assert torch.equal(batch.voxels[6:], data[0, 1].voxels)
