"""Maps of all sentences of a store: the right voxels, the right controls."""

from dataclasses import replace

import numpy as np
import pytest

from simcrop.data.preprocessing import center_crop
from simcrop.data.store import Store
from simcrop.errors import DataError
from simcrop.evaluate.grounding import evaluate_grounding
from simcrop.evaluate.zero_shot import PROMPTS
from simcrop.train.features import Features, embed_store
from simcrop.train.grounding import crop_mask, ground_store, mask_share, zero_shot


@pytest.fixture(scope="module")
def features(pretrained, phantom_store) -> Features:
    return embed_store(pretrained, phantom_store, with_patches=True)


@pytest.fixture(scope="module")
def grounded(pretrained, phantom_store, features):
    return ground_store(pretrained, phantom_store, features)


def test_every_mask_of_the_volumes_gives_one_map(grounded, phantom_store, pretrained):
    assert len(grounded) == len(phantom_store.masks) > 20
    assert [one.sentence for one in grounded] == phantom_store.masks["sentence"].tolist()
    for one in grounded:
        assert one.similarity.shape == (pretrained.grid.num_patches,)
        assert np.abs(one.similarity).max() <= 1 + 1e-3  # patches are stored as float16
        assert ((one.mask_share >= 0) & (one.mask_share <= 1)).all()


def test_a_map_is_that_of_the_model_and_its_control_that_of_another_patient(
    grounded, features, pretrained, phantom_store
):
    one = grounded[0]
    volume = f"{one.study_id}_ct"
    crop = center_crop(*phantom_store.read_hu(volume), pretrained.contract)
    maps = pretrained.similarity_map(crop, [one.sentence])
    np.testing.assert_allclose(one.similarity, maps.values.ravel(), atol=2e-3)
    np.testing.assert_array_equal(one.is_body, maps.is_body.ravel())
    sentence = pretrained.embed_sentences([one.sentence])[0]
    every = features.need_patches() @ sentence
    rows = [i for i, row in enumerate(every) if np.array_equal(row, one.swapped_similarity)]
    assert len(rows) == 1
    assert features.index["patient_id"][rows[0]] != one.patient_id


def test_the_share_of_a_mask_is_counted_in_its_patches(phantom_store, pretrained):
    row = phantom_store.masks.iloc[0]
    mask = phantom_store.read_mask(row["path"])
    on_crop = crop_mask(phantom_store, row["path"], row["volume_id"], pretrained)
    share = mask_share(phantom_store, row["path"], row["volume_id"], pretrained)
    assert 0 < on_crop.sum() <= mask.sum()
    assert share.sum() * pretrained.grid.patch_voxels == pytest.approx(on_crop.sum(), rel=1e-5)
    for index in np.flatnonzero(share):
        assert on_crop[pretrained.grid.voxel_box(int(index))].any()


def test_a_model_that_knows_hits_and_its_control_does_not(
    pretrained, phantom_store, features, monkeypatch
):
    """The first axis of the space says 'finding': patches that hold a mask have it, and so has
    every sentence. Masks, crops and grid must agree for this to hit."""
    masks = phantom_store.masks.drop_duplicates("volume_id")
    patches = np.zeros((24, pretrained.grid.num_patches, 2), dtype=np.float16)
    rows = {volume: i for i, volume in enumerate(features.index["volume_id"])}
    for mask in masks.itertuples():
        crop = center_crop(*phantom_store.read_hu(mask.volume_id), pretrained.contract)
        is_inside = crop_mask(phantom_store, mask.path, mask.volume_id, pretrained)
        for index in range(pretrained.grid.num_patches):
            share = is_inside[pretrained.grid.voxel_box(index)].mean()
            patches[rows[mask.volume_id], index, 0] = share
        assert crop.voxels.shape == is_inside.shape
    one_each = Store(phantom_store.folder)
    one_each.masks = masks
    finding = np.array([[1, 0]], dtype=np.float32)
    monkeypatch.setattr(pretrained, "embed_sentences", lambda texts: finding.repeat(len(texts), 0))
    known = ground_store(pretrained, one_each, replace(features, patch_embeddings=patches))
    result = evaluate_grounding(known, top_k=1, num_resamples=50)
    assert result.mean.hit.value == 1
    assert result.mean.patch_auroc.value > 0.99
    assert result.mean.swapped_hit.value < 0.7


def test_a_store_without_masks_is_refused(pretrained, phantom_store, features):
    bare = Store(phantom_store.folder)
    bare.masks = None
    with pytest.raises(DataError, match=r"has no masks\.csv"):
        ground_store(pretrained, bare, features)


def test_zero_shot_scores_every_label_that_has_prompts(pretrained, phantom_store, features):
    names, intervals = zero_shot(pretrained, phantom_store, features)
    assert names == tuple(n for n in phantom_store.labels.columns if n in PROMPTS)
    assert len(names) >= 5
    assert len(intervals.per_label) == len(names)
    assert 0 <= intervals.mean.value <= 1
    again = zero_shot(pretrained, phantom_store, features)[1]
    assert again.to_dict(names) == intervals.to_dict(names)
