"""Features of a store and of files: row by row, without the volumes that cannot be used."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from simcrop.data.store import Store
from simcrop.errors import DataError
from simcrop.geometry import VoxelGrid
from simcrop.train.feature_files import save_features
from simcrop.train.features import embed_files, embed_in_parts, embed_store
from simcrop.train.pretrained import Pretrained


@pytest.fixture(scope="module")
def features(pretrained, phantom_store):
    return embed_store(pretrained, phantom_store, with_patches=True, batch_size=5)


@pytest.fixture
def damaged(phantom_store, tmp_path) -> Store:
    """A copy of the store in which one training volume is cut short."""
    store = Store(shutil.copytree(phantom_store.folder, tmp_path / "store"))
    path = store.folder / store.volumes.at[store.volume_ids("train")[1], "path"]
    path.write_bytes(path.read_bytes()[:2000])
    return store


def test_every_volume_has_one_row_with_its_patient_and_split(features, pretrained, phantom_store):
    config = pretrained.config
    assert features.volume_embeddings.shape == (24, config.vision_encoder.dim)
    assert features.volume_embeddings.dtype == np.float32
    patches = pretrained.grid.num_patches
    assert features.patch_embeddings.shape == (24, patches, config.alignment.shared_dim)
    assert features.patch_embeddings.dtype == np.float16
    assert sorted(features.index["volume_id"]) == sorted(phantom_store.volume_ids())
    for row in features.index.itertuples():
        assert row.volume_id in phantom_store.volume_ids(row.split)
        assert row.patient_id in phantom_store.patients_of(row.split)
        assert row.study_id == phantom_store.study_of(row.volume_id)
    assert features.failed.empty


def test_a_volume_under_two_splits_is_embedded_once(pretrained, phantom_store, tmp_path):
    folder = shutil.copytree(phantom_store.folder, tmp_path / "store")
    volumes = phantom_store.volume_ids()[:6]
    parts = ["train", "val+test", "train", "val+test", "val", "test"]
    table = pd.DataFrame({"volume_id": volumes, "split": parts})
    table.to_csv(folder / "paper_split.csv", index=False)
    seen = []
    found = embed_store(
        pretrained,
        Store(folder, split="paper_split"),
        batch_size=4,
        on_progress=lambda done, total, what: seen.append((done, total)),
    )
    assert seen[-1] == (6, 6)
    split_of = found.index.groupby("volume_id")["split"].agg("+".join)
    assert split_of.to_dict() == dict(zip(volumes, parts, strict=True))
    same = found.index["volume_id"] == volumes[1]
    assert len(np.unique(found.volume_embeddings[same], axis=0)) == 1
    assert len(found.of("test").volume_embeddings) == 3


def test_patients_of_two_splits_never_mix(features):
    splits = features.index.groupby("patient_id")["split"].nunique()
    assert (splits == 1).all()
    assert set(features.index["split"]) == {"train", "val", "test"}


def test_a_batch_gives_what_its_volumes_give_one_by_one(features, pretrained, phantom_archive):
    for row in (0, 13, 23):
        volume = features.index["volume_id"][row].removesuffix("_ct")
        path = phantom_archive / "volumes" / f"{volume}.nii.gz"
        expected = pretrained.embed_volume(path)
        np.testing.assert_allclose(features.volume_embeddings[row], expected, atol=1e-5)
        expected = pretrained.embed_patches(path)
        np.testing.assert_allclose(features.need_patches()[row], expected, atol=1e-3)  # float16


def test_only_the_splits_asked_for_are_embedded(pretrained, phantom_store):
    held_out = embed_store(pretrained, phantom_store, splits=("test",), feature="cls")
    assert held_out.index["volume_id"].tolist() == phantom_store.volume_ids("test")
    with pytest.raises(ValueError, match="with_patches=True"):
        held_out.need_patches()


def test_a_damaged_volume_is_recorded_and_the_rest_goes_on(features, pretrained, damaged):
    seen = []
    found = embed_store(
        pretrained, damaged, batch_size=5, on_progress=lambda done, total, what: seen.append(done)
    )
    (bad,) = found.failed["volume_id"]
    assert bad == damaged.volume_ids("train")[1]
    assert "damaged" in found.failed["reason"][0]
    assert bad not in set(found.index["volume_id"])
    kept = features.index["volume_id"] != bad
    np.testing.assert_allclose(found.volume_embeddings, features.volume_embeddings[kept], atol=1e-5)
    assert found.index["volume_id"].tolist() == features.index["volume_id"][kept].tolist()
    assert seen[-1] == 24


def test_files_that_cannot_be_read_are_recorded(pretrained, phantom_archive, tmp_path):
    good = phantom_archive / "volumes" / "phantom_000000.nii.gz"
    (tmp_path / "bad.nii.gz").write_bytes(b"no volume")
    found = embed_files(pretrained, [tmp_path / "bad.nii.gz", good, tmp_path / "none.mha"])
    assert found.index["volume_id"].tolist() == [str(good)]
    assert found.failed["volume_id"].tolist() == [
        str(tmp_path / "bad.nii.gz"),
        str(tmp_path / "none.mha"),
    ]
    np.testing.assert_allclose(found.volume_embeddings[0], pretrained.embed_volume(good))


def test_nothing_usable_is_an_error_that_names_the_first(pretrained, tmp_path):
    with pytest.raises(DataError, match=r"none of 1 volumes could be used; the first: .*none\.mha"):
        embed_files(pretrained, [tmp_path / "none.mha"])


def test_a_store_prepared_otherwise_is_refused_line_by_line(pretrained, phantom_store):
    volume = pretrained.config.volume
    spacing = tuple(mm + 1 for mm in volume.spacing_mm)
    other = pretrained.config.model_copy(
        update={"volume": volume.model_copy(update={"spacing_mm": spacing})}
    )
    model = Pretrained(pretrained.simcrop, other, "x")
    with pytest.raises(DataError) as caught:
        embed_store(model, phantom_store)
    assert "spacing_mm: [6.5, 6.5, 9.0]" in str(caught.value)
    assert "simcrop prepare" in str(caught.value)


def test_features_are_written_whole_and_read_back(features, pretrained, tmp_path):
    failed = pd.DataFrame([("v9", "damaged")], columns=["volume_id", "reason"])
    save_features(replace(features, failed=failed), tmp_path, pretrained, "post_norm_gap")
    assert {path.name for path in tmp_path.iterdir()} == {
        "features.json",
        "index.csv",
        "failed.csv",
        "volume_embeddings.npy",
        "post_norm_max.npy",
        "pre_norm_gap.npy",
        "cls.npy",
        "aligned_max.npy",
        "is_body.npy",
        "patch_embeddings.npy",
    }
    for name in ("volume_embeddings", "patch_embeddings"):
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), getattr(features, name))
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "index.csv"), features.index)
    assert pd.read_csv(tmp_path / "failed.csv").volume_id.tolist() == ["v9"]
    description = json.loads((tmp_path / "features.json").read_text())
    assert description["feature"] == "post_norm_gap"
    assert description["contract_hash"] == pretrained.contract.hash


def test_only_the_volumes_asked_for_are_embedded(pretrained, phantom_store):
    wanted = set(phantom_store.volume_ids("train")[2:4])
    assert set(embed_store(pretrained, phantom_store, only=wanted).index["volume_id"]) == wanted


def test_the_grid_of_the_file_and_of_the_patches_come_with_a_volume(
    features, pretrained, phantom_archive
):
    path = phantom_archive / "volumes" / "phantom_000000.nii.gz"
    of_file = embed_files(pretrained, [path], with_patches=True)
    grid = VoxelGrid.from_json(of_file.index["native_grid"][0])
    assert (grid.shape, grid.orientation) == ((60, 48, 36), "RAS")
    row = features.index["volume_id"].tolist().index("phantom_000000_ct")
    assert features.index["native_grid"][row] == of_file.index["native_grid"][0]
    expected = pretrained.similarity_map(path, ["A sentence."]).affine
    np.testing.assert_allclose(of_file.affines[0], expected)
    np.testing.assert_allclose(features.affines[row], expected)


def test_parts_of_a_store_add_up_to_the_whole(features, pretrained, phantom_store):
    wanted = set(phantom_store.volume_ids())
    seen = []
    parts = list(
        embed_in_parts(
            pretrained, phantom_store, ("train", "val", "test"), wanted, part_size=7,
            on_progress=lambda done, total, what: seen.append((done, total)),
        )
    )  # fmt: skip
    assert [len(part.index) for part in parts] == [7, 7, 7, 3]
    joined = pd.concat([part.index for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(joined, features.index)
    patches = np.concatenate([part.need_patches() for part in parts])
    np.testing.assert_allclose(patches, features.need_patches(), atol=1e-3)
    assert seen[-1] == (24, 24)


def test_patches_may_go_to_a_file_from_which_they_are_mapped(
    features, pretrained, phantom_store, tmp_path
):
    path = tmp_path / "patch_embeddings.npy"
    mapped = embed_store(
        pretrained, phantom_store, splits=("test",), with_patches=True, patches_path=path
    )
    assert isinstance(mapped.patch_embeddings, np.memmap)
    expected = features.of("test").patch_embeddings
    np.testing.assert_allclose(mapped.patch_embeddings, expected, atol=1e-3)
    save_features(mapped, tmp_path, pretrained, "post_norm_gap")
    np.testing.assert_array_equal(np.load(path), mapped.patch_embeddings)
