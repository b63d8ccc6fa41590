"""Maps of all sentences of a store: the right voxels, the right controls."""

from dataclasses import replace

import numpy as np
import pytest

from simcrop.data.preprocessing import center_crop
from simcrop.data.store import Store
from simcrop.errors import DataError
from simcrop.evaluate.grounded_sentence import OWN, SWAPPED
from simcrop.evaluate.grounding import evaluate_grounding
from simcrop.evaluate.position_maps import POSITION, POSITION_AND_WORDS, PositionMaps
from simcrop.evaluate.prompts import PROMPTS
from simcrop.train.features import Features, embed_store
from simcrop.train.grounding import MEAN_OF_OTHERS, denials, ground_store, with_position_maps
from simcrop.train.masks import (
    NO_LABEL,
    MaskGeometry,
    crop_mask,
    is_diffuse,
    mask_geometry,
    mask_share,
    masks_with_sentences,
    training_masks,
)


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
        assert one.maps[OWN].shape == (pretrained.grid.num_patches,)
        assert np.abs(one.maps[OWN]).max() <= 1 + 1e-3  # patches are stored as float16
        assert ((one.mask_share >= 0) & (one.mask_share <= 1)).all()


def test_a_map_is_that_of_the_model_and_its_control_that_of_another_patient(
    grounded, features, pretrained, phantom_store
):
    one = grounded[0]
    volume = f"{one.study_id}_ct"
    crop = center_crop(*phantom_store.read_hu(volume), pretrained.contract)
    maps = pretrained.similarity_map(crop, [one.sentence])
    np.testing.assert_allclose(one.maps[OWN], maps.values.ravel(), atol=2e-3)
    np.testing.assert_array_equal(one.is_body, maps.is_body.ravel())
    sentence = pretrained.embed_sentences([one.sentence])[0]
    every = features.need_patches() @ sentence
    rows = [i for i, row in enumerate(every) if np.array_equal(row, one.maps[SWAPPED])]
    assert len(rows) == 1
    assert features.index["patient_id"][rows[0]] != one.patient_id


def test_the_share_of_a_mask_is_counted_in_its_patches(phantom_store, pretrained):
    row = phantom_store.masks.iloc[0]
    mask = phantom_store.read_mask(row["path"])
    on_crop = crop_mask(phantom_store, row["path"], pretrained)
    share = mask_share(on_crop, pretrained)
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
        is_inside = crop_mask(phantom_store, mask.path, pretrained)
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


def test_distances_are_those_of_the_voxels(phantom_store, pretrained):
    mask = crop_mask(phantom_store, phantom_store.masks.iloc[0]["path"], pretrained)
    geometry = mask_geometry(mask, pretrained)
    spacing = np.array(pretrained.contract.spacing_mm)
    voxels = np.argwhere(mask) * spacing
    for index in range(0, pretrained.grid.num_patches, 7):
        box = pretrained.grid.voxel_box(index)
        center = np.array([(part.start + part.stop - 1) / 2 for part in box]) * spacing
        nearest = np.linalg.norm(voxels - center, axis=1).min()
        is_inside = mask[tuple(np.floor(center / spacing).astype(int))]
        assert geometry.distance_mm[index] == pytest.approx(0 if is_inside else nearest)
        expected = abs(center[2] - voxels[:, 2].mean())
        assert geometry.depth_mm[index] == pytest.approx(expected)
    assert geometry.longest_mm == pytest.approx((np.ptp(voxels, axis=0) + spacing).max())
    nothing = mask_geometry(np.zeros_like(mask), pretrained)
    assert np.isinf(nothing.distance_mm).all()
    assert nothing.share.sum() == 0


def test_the_mean_of_others_is_the_mean_of_their_maps(grounded, pretrained, features):
    one = grounded[3]
    sentence = pretrained.embed_sentences([one.sentence])[0]
    is_other = features.index["patient_id"] != one.patient_id
    expected = (features.need_patches()[is_other] @ sentence).mean(axis=0)
    np.testing.assert_allclose(one.maps[MEAN_OF_OTHERS], expected, atol=1e-5)


def test_a_mask_with_a_label_alone_gets_a_sentence_and_one_with_neither_is_left_out(
    phantom_store,
):
    bare = Store(phantom_store.folder)
    bare.masks = phantom_store.masks.assign(sentence="").head(3)
    bare.masks.loc[bare.masks.index[0], "label"] = "Unheard of"
    table = masks_with_sentences(bare, bare.volume_ids())
    assert table["sentence"].tolist() == [PROMPTS[n].positive[0] for n in bare.masks.label[1:]]
    unlabelled = Store(phantom_store.folder)
    unlabelled.masks = phantom_store.masks.drop(columns="label")
    assert set(masks_with_sentences(unlabelled, bare.volume_ids())["label"]) == {NO_LABEL}


def test_the_list_decides_what_is_diffuse_and_the_size_where_it_says_nothing():
    def size(longest_mm):
        return MaskGeometry(*[np.zeros(2)] * 3, longest_mm)

    assert is_diffuse("Emphysema", size(10.0))
    assert not is_diffuse("Lung nodule", size(500.0))
    assert [is_diffuse(NO_LABEL, size(mm)) for mm in (99.0, 100.0)] == [False, True]


def test_denials_take_the_mask_of_what_they_deny(grounded, pretrained, features):
    denied = denials(grounded, pretrained, features)
    assert len(denied) == len(grounded)
    for one, before in zip(denied, grounded, strict=True):
        assert one.sentence == PROMPTS[before.label].negative[0]
        assert one.is_negated
        np.testing.assert_array_equal(one.mask_share, before.mask_share)
    expected = pretrained.embed_sentences([denied[0].sentence])[0]
    row = features.index["volume_id"].tolist().index(denied[0].volume_id)
    np.testing.assert_allclose(denied[0].maps[OWN], features.need_patches()[row] @ expected)


def test_position_maps_come_from_training_patients(grounded, phantom_store, pretrained):
    masks = list(training_masks(phantom_store, pretrained))
    patients = set(phantom_store.patients_of("train"))
    assert {mask.patient_id for mask in masks} <= patients
    known = with_position_maps(grounded, PositionMaps(masks))
    assert all(POSITION in one.maps and POSITION_AND_WORDS in one.maps for one in known)
    assert with_position_maps(grounded, PositionMaps([]))[0].maps.keys() == grounded[0].maps.keys()
