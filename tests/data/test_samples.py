"""Samples of the prepared phantoms; the words come from a stand-in, no text encoder runs."""

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
import torch

from simcrop.data.body import body_patches
from simcrop.data.prepare import prepare
from simcrop.data.preprocessing import center_crop, normalise
from simcrop.data.samples import Augmentation, StudyDataset, TextSample, collate
from simcrop.data.store import Store

TEXT_DIM = 4
PAPER = Augmentation((0.8, 1.0), (0.0, 0.2, 0.2), 0.1, 0.1)
NOTHING = Augmentation((1.0, 1.0), (0.0, 0.0, 0.0), 0.0, 0.0)


def words(num_findings=5, num_sentences=2, num_report=7, is_cached=True) -> TextSample:
    owners = torch.arange(num_findings) % (num_sentences + 1)
    return TextSample(
        findings_states=torch.randn(num_findings, TEXT_DIM),
        sentence_of_word=owners,
        sentence_keys=torch.arange(1, num_sentences + 1),
        sentence_weights=torch.ones(num_sentences),
        sentence_is_normal=torch.arange(num_sentences) % 2 == 0,
        report_ids=torch.arange(1, num_report + 1),
        masked_ids=torch.arange(1, num_report + 1),
        is_masked=torch.ones(num_report, dtype=torch.bool),
        report_states=torch.randn(num_report, TEXT_DIM) if is_cached else None,
    )


def text_of(study: str, epoch: int) -> TextSample:
    torch.manual_seed(len(study) + epoch)
    return words()


def dataset(store: Store, augmentation=PAPER, seed=0, contract=None, **options) -> StudyDataset:
    studies = sorted(store.reports.index)
    contract = contract or store.contract
    return StudyDataset(
        store, studies, contract, text_of, seed=seed, augmentation=augmentation, **options
    )


@pytest.fixture(scope="module")
def tight(phantom_store):
    """A contract whose crop is smaller than the phantoms, so that crops may move."""
    return replace(phantom_store.contract, crop_shape=(36, 36, 24))


def test_the_same_seed_epoch_and_study_give_the_same_sample(phantom_store, tight):
    first, again = (dataset(phantom_store, contract=tight)[3, 4] for _ in range(2))
    assert first.study_id == again.study_id
    assert torch.equal(first.voxels, again.voxels)
    assert torch.equal(first.is_padding, again.is_padding)
    assert torch.equal(first.is_body, again.is_body)


def test_the_order_of_asking_changes_nothing(phantom_store, tight):
    forward, backward = (dataset(phantom_store, contract=tight) for _ in range(2))
    expected = [forward[1, i].voxels for i in range(4)]
    found = [backward[1, i].voxels for i in (3, 2, 1, 0)][::-1]
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))


@pytest.mark.parametrize("change", [{"epoch": 1}, {"seed": 1}])
def test_another_epoch_or_seed_gives_another_crop(phantom_store, tight, change):
    samples = dataset(phantom_store, contract=tight)
    others = dataset(phantom_store, contract=tight, seed=change.get("seed", 0))
    epoch = change.get("epoch", 0)
    differ = [not torch.equal(samples[0, i].voxels, others[epoch, i].voxels) for i in range(4)]
    assert all(differ)


def test_without_augmentation_every_epoch_gives_the_centre_crop(phantom_store):
    samples = dataset(phantom_store, augmentation=None)
    sample = samples[0, 2]
    assert torch.equal(sample.voxels, samples[9, 2].voxels)
    crop = center_crop(*phantom_store.read_hu(f"{sample.study_id}_ct"), phantom_store.contract)
    np.testing.assert_array_equal(sample.voxels, normalise(crop.voxels, phantom_store.contract))
    np.testing.assert_array_equal(sample.is_padding, crop.is_padding)
    expected = body_patches(crop, phantom_store.contract.patch_grid)
    np.testing.assert_array_equal(sample.is_body, expected)


def test_voxels_lie_in_the_window_before_the_shift(phantom_store):
    sample = dataset(phantom_store, NOTHING)[0, 0]
    assert sample.voxels.dtype == torch.float32
    assert sample.voxels.min() == -1
    assert sample.voxels.max() <= 1
    shifted = dataset(phantom_store, replace(NOTHING, shift_probability=1.0, shift_range=0.1))[0, 0]
    difference = shifted.voxels - sample.voxels
    assert 0 < difference.abs().max() <= 0.1
    torch.testing.assert_close(difference, torch.full_like(difference, difference.mean()))


def test_padding_is_flagged_where_the_volume_ends(phantom_store):
    big = replace(phantom_store.contract, crop_shape=(120, 48, 36))
    sample = dataset(phantom_store, NOTHING, contract=big)[0, 0]
    nx = phantom_store.volumes.at[f"{sample.study_id}_ct", "nx"]
    is_outside = sample.is_padding.all(dim=2).all(dim=1)
    assert (~is_outside).sum() == nx
    assert is_outside[0]
    assert is_outside[-1]
    assert not sample.is_body[:4].any()  # patches of the first slab along x


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_a_volume_flipped_along_x_gets_the_mirrored_text(phantom_store, probability):
    flips = Augmentation((1.0, 1.0), (probability, 0.5, 0.5), 0.0, 0.0)
    asked = []

    def mirrored_text(study: str, epoch: int) -> TextSample:
        asked.append((study, epoch))
        return text_of(study, epoch)

    studies = dataset(phantom_store, flips, mirrored_text=mirrored_text)
    plain = dataset(phantom_store, NOTHING)[1, 2]
    sample = studies[1, 2]
    assert asked == ([(sample.study_id, 1)] if probability else [])
    matches = [
        torch.equal(sample.voxels, plain.voxels.flip([*axes, *extra]))
        for axes in ((), (1,), (2,), (1, 2))
        for extra in ([0] if probability else [],)
    ]
    assert sum(matches) == 1


def test_keeping_volumes_in_memory_changes_no_sample(phantom_store, monkeypatch):
    kept = dataset(phantom_store, keep_in_memory=True)
    before = kept[0, 0].voxels
    monkeypatch.setattr(Store, "read_hu", lambda *_: pytest.fail("read again"))
    assert torch.equal(kept[0, 0].voxels, before)


@pytest.fixture(scope="module")
def two_volumes(phantom_archive, phantom_store, tmp_path_factory) -> Store:
    """One study with two reconstructions, which are the volumes of two patients."""
    folder = tmp_path_factory.mktemp("two")
    reports = pd.read_csv(phantom_archive / "reports.csv").head(1)
    paths = pd.read_csv(phantom_archive / "volumes.csv").path.head(2)
    volumes = [
        (f"v{i}", reports.study_id[0], phantom_archive / path) for i, path in enumerate(paths)
    ]
    reports.to_csv(folder / "reports.csv", index=False)
    columns = ["volume_id", "study_id", "path"]
    pd.DataFrame(volumes, columns=columns).to_csv(folder / "volumes.csv", index=False)
    prepare(folder, folder / "store", phantom_store.contract)
    return Store(folder / "store")


def test_volumes_of_one_study_take_turns(two_volumes):
    samples = dataset(two_volumes, NOTHING)
    expected = [
        torch.from_numpy(
            normalise(
                center_crop(*two_volumes.read_hu(v), samples.contract).voxels, samples.contract
            )
        )
        for v in ("v0", "v1")
    ]
    assert len(samples) == 1
    shown = []
    for epoch in range(20):
        voxels = samples[epoch, 0].voxels
        shown.append([torch.equal(voxels, e) for e in expected].index(True))
    assert 4 < sum(shown) < 16


def test_validation_always_shows_the_first_volume(two_volumes):
    samples = dataset(two_volumes, None)
    hu, affine = two_volumes.read_hu("v0")
    expected = normalise(center_crop(hu, affine, samples.contract).voxels, samples.contract)
    for epoch in range(5):
        np.testing.assert_array_equal(samples[epoch, 0].voxels, expected)


def batch_of(*texts: TextSample, store: Store):
    sample = dataset(store, None)[0, 0]
    return collate([replace(sample, study_id=str(i), text=t) for i, t in enumerate(texts)])


def test_a_batch_holds_every_text_and_marks_its_padding(phantom_store):
    short, long = words(3, 1, 4), words(9, 3, 8)
    batch = batch_of(short, long, store=phantom_store)
    assert len(batch) == 2
    assert batch.study_ids == ("0", "1")
    assert batch.findings_states.shape == (2, 9, TEXT_DIM)
    assert torch.equal(batch.findings_states[0, :3], short.findings_states)
    assert not batch.findings_states[0, 3:].any()
    assert not batch.sentence_of_word[0, 3:].any()
    assert batch.sentence_is_valid.tolist() == [[True, False, False], [True, True, True]]
    assert batch.report_is_valid.sum(dim=1).tolist() == [4, 8]
    assert not batch.is_masked[0, 4:].any()
    assert torch.equal(batch.report_states[1], long.report_states)


def test_a_longer_companion_leaves_the_content_of_a_sample_alone(phantom_store):
    one, longer = words(3, 1, 4), words(20, 5, 30)
    alone, together = batch_of(one, store=phantom_store), batch_of(one, longer, store=phantom_store)
    for field in fields(alone):
        small, big = getattr(alone, field.name), getattr(together, field.name)
        if isinstance(small, torch.Tensor):
            inside = tuple(slice(n) for n in small.shape)
            assert torch.equal(big[inside], small), field.name


@pytest.mark.parametrize("is_cached", [True, False])
def test_reports_without_words_or_sentences_make_a_batch(phantom_store, is_cached):
    batch = batch_of(words(0, 0, 0, is_cached), words(0, 0, 0, is_cached), store=phantom_store)
    assert batch.findings_states.shape == (2, 0, TEXT_DIM)
    assert batch.sentence_keys.shape == (2, 0)
    assert batch.report_ids.shape == (2, 0)
    assert (batch.report_states is None) == (not is_cached)
