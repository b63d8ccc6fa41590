"""The whole evaluation of grounding on a small store: groups, edits, examples."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from simcrop.data.store import Store
from simcrop.errors import DataError
from simcrop.evaluate.edits import mirror
from simcrop.evaluate.grounded_sentence import OWN
from simcrop.train.faithfulness import answers_of, embed_crops
from simcrop.train.features import embed_store
from simcrop.train.grounding import ground_store
from simcrop.train.grounding_study import draw_examples, study_grounding
from simcrop.train.masks import crop_mask, read_crop
from simcrop.train.pretrained import Pretrained


@pytest.fixture(scope="module")
def study(pretrained, phantom_store):
    return study_grounding(pretrained, phantom_store, num_resamples=50)


def test_every_mask_of_the_test_part_is_judged_beside_all_controls(study, phantom_store):
    masks = phantom_store.masks
    expected = masks[masks.volume_id.isin(phantom_store.volume_ids("test"))]
    judged = {one.mask_path for one in study.result.scored}
    assert len(judged) + study.result.num_left_out == len(expected)
    assert judged <= set(expected.path)
    maps = study.result.mean.maps
    assert set(maps) == {
        OWN, "swapped", "mean of others", "random", "position", "position and words",
    }  # fmt: skip
    assert study.num_training_masks > 10
    assert 0 <= maps[OWN].dice.value <= 1
    assert study.thresholds_from == "val"
    assert maps["position and words"].patch_auroc.value > 0.6  # places alone go far


@pytest.mark.parametrize("part", ["val", "all"])
def test_where_validation_is_reported_other_patients_choose_the_thresholds(
    pretrained, phantom_store, part
):
    study = study_grounding(
        pretrained, phantom_store, part=part, with_edits=False, num_resamples=20
    )
    assert study.thresholds_from == "other patients"
    assert 0 <= study.result.mean.maps[OWN].dice.value <= 1


def test_groups_are_parts_of_the_whole(study):
    groups = study.groups
    total = study.result.mean.num_sentences
    sizes = {name: row.num_sentences for name, row in groups.items()}
    assert sizes["focal findings"] + sizes["diffuse findings"] == total
    assert sizes["denials of what is there"] == total
    assert "negated sentences" not in groups  # phantoms have masks of what is there only


def test_edits_are_answered_per_finding(study):
    mean = study.faithfulness[-1]
    assert mean.num_erased > 5
    assert mean.num_mirrored > 3
    assert mean.num_sided > 0
    assert 0 <= mean.answers["prefers_region"].value <= 1
    assert np.isfinite(mean.answers["drop_difference"].value)


class Seeing(Pretrained):
    """A stand-in whose patches are the share of bright voxels, and whose sentences ask for them."""

    def __init__(self, pretrained):
        super().__init__(pretrained.simcrop, pretrained.config, "")

    def encode(self, crops):
        return crops

    def embed_encoded(self, crops):
        bright = torch.stack([torch.from_numpy(crop.voxels > 1500) for crop in crops])
        return self.grid.share(bright)[..., None].float()

    def embed_sentences(self, sentences):
        return np.array([[0.5 if "right" in text else 1.0] for text in sentences], np.float32)


def test_a_model_that_sees_answers_to_every_edit(pretrained, phantom_store, monkeypatch):
    """A lesion of metal on the left: erased it is gone, mirrored its peak is on the other side."""
    store = Store(phantom_store.folder)
    row = store.masks[store.masks.label == "Lung nodule"].iloc[0]
    store.masks = store.masks[store.masks.path == row["path"]].assign(sentence="On the left.")
    mask = store.read_mask(row["path"])
    hu, affine = store.read_hu(row["volume_id"])
    marked = np.where(mask, 2500, np.minimum(hu, 1000)).astype(np.int16)
    monkeypatch.setattr(store, "read_hu", lambda volume: (marked, affine))
    model = Seeing(pretrained)
    features = embed_store(pretrained, store, with_patches=True, only={row["volume_id"]})
    patches = embed_crops(model, [read_crop(store, row["volume_id"], pretrained)])[0]
    features = replace(features, patch_embeddings=patches[None].astype(np.float16))
    one = ground_store(model, store, features)[0]
    answers = answers_of(model, store, [one], top_k=1)[0]
    inside = crop_mask(store, row["path"], pretrained)
    assert (marked[inside] > 1500).all()
    assert answers.region_drop > 0
    assert answers.control_drop == 0
    assert answers.prefers_region == 1
    assert (answers.hit, answers.mirrored_hit, answers.stayed_hit) == (1, 1, 0)
    assert answers.side_preferred == 1  # "left" asks twice as loud as "right"
    crop = read_crop(store, row["volume_id"], pretrained)
    assert embed_crops(model, [mirror(crop)])[0].sum() == pytest.approx(patches.sum())


def test_examples_are_drawn_by_rank(study, pretrained, phantom_store):
    drawings = draw_examples(study, pretrained, phantom_store)
    assert {"example_focal_best", "example_focal_worst"} <= set(drawings)
    aurocs = study.result.values[OWN]["patch_auroc"]
    focal = [a for a, one in zip(aurocs, study.result.scored, strict=True) if not one.is_diffuse]
    assert f"patch AUROC {max(focal):.2f}" in drawings["example_focal_best"].caption
    assert f"patch AUROC {min(focal):.2f}" in drawings["example_focal_worst"].caption


def test_a_part_without_masks_is_refused(pretrained, phantom_store):
    bare = Store(phantom_store.folder)
    bare.masks = phantom_store.masks[phantom_store.masks.volume_id.isin(bare.volume_ids("train"))]
    with pytest.raises(DataError, match="no mask with a sentence or a known label in its part"):
        study_grounding(pretrained, bare, with_edits=False)
    far = study_grounding(pretrained, bare, part="train", with_edits=False, num_resamples=20)
    assert far.thresholds_from == "nobody"
    assert far.faithfulness == ()
