"""Features on disk: every feature of one pass, patch tokens row by row, and what is refused."""

import json

import numpy as np
import pytest

from simcrop.errors import DataError
from simcrop.train.feature_files import TOKENS_FILE, load_features, save_features
from simcrop.train.features import embed_store
from simcrop.train.growing_array import growing_array
from simcrop.train.pooling import FEATURES


@pytest.fixture(scope="module")
def saved(pretrained, phantom_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    features = embed_store(
        pretrained, phantom_store, with_patches=True, tokens_path=folder / TOKENS_FILE
    )
    save_features(features, folder, pretrained, "post_norm_gap")
    return folder, features


def test_what_is_saved_is_loaded(saved, pretrained):
    folder, features = saved
    found = load_features(folder)
    assert (found.feature, found.contract) == ("post_norm_gap", pretrained.contract)
    assert found.features.index.equals(features.index)
    for name in ("volume_embeddings", "patch_embeddings", "is_body", "patch_tokens"):
        np.testing.assert_array_equal(getattr(found.features, name), getattr(features, name))


def test_one_pass_has_every_feature_and_the_tokens_they_are_means_of(saved):
    folder, features = saved
    for name in FEATURES:
        loaded = load_features(folder, name)
        assert loaded.feature == name
        np.testing.assert_array_equal(loaded.features.volume_embeddings, features.pooled[name])
    means = features.patch_tokens.astype(np.float32).mean(axis=1)
    np.testing.assert_allclose(means, features.pooled["post_norm_gap"], atol=2e-3)  # float16


def test_a_growing_array_is_a_numpy_file_and_nothing_is_left_of_a_broken_one(tmp_path):
    rows = np.random.default_rng(0).normal(size=(1234, 3, 2))
    with growing_array(tmp_path / "a.npy") as array:
        for part in np.array_split(rows, 5):
            array.append(part)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), rows.astype(np.float16))
    with pytest.raises(ValueError, match="inhomogeneous"), growing_array(tmp_path / "b.npy") as b:
        b.append(np.array([[1], [2, 3]]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_features_of_another_project_need_three_files(tmp_path):
    (tmp_path / "index.csv").write_text("volume_id,study_id,patient_id,split\nv1,s1,p1,train\n")
    np.save(tmp_path / "volume_embeddings.npy", np.zeros((1, 4), dtype=np.float32))
    with pytest.raises(DataError, match="no readable features"):
        load_features(tmp_path)
    (tmp_path / "features.json").write_text(json.dumps({"feature": "theirs"}))
    found = load_features(tmp_path)
    assert (found.feature, found.contract) == ("theirs", None)
    with pytest.raises(DataError, match="expected cls features"):
        load_features(tmp_path, "cls")
    np.save(tmp_path / "volume_embeddings.npy", np.zeros((2, 4), dtype=np.float32))
    with pytest.raises(DataError, match="for the 1 rows"):
        load_features(tmp_path)
