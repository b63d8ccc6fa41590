"""An index answers by exact products: the studies of a loop over maps, and the place in each."""

import json
import shutil

import numpy as np
import pytest

from simcrop.errors import DataError
from simcrop.geometry import VoxelGrid
from simcrop.train.feature_files import save_features
from simcrop.train.features import embed_store
from simcrop.train.search import axial_slice, results_table, search
from simcrop.train.search_index import open_index, write_index
from simcrop.train.shared_space import GLOBAL

QUERIES = ["Pleural effusion on the left.", "The heart is enlarged."]


@pytest.fixture(scope="module")
def index(pretrained, phantom_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("index")
    features = embed_store(pretrained, phantom_store, with_patches=True)
    save_features(features, folder, pretrained, "post_norm_gap")
    write_index(folder, features, pretrained, checkpoint=folder, store=str(phantom_store.location))
    return open_index(folder)


def test_the_best_studies_are_those_of_a_loop_over_maps(index, pretrained, phantom_store):
    found = search(index, pretrained, QUERIES, limit=24)
    top_k = pretrained.config.alignment.top_k
    for query in QUERIES:
        of_query = [one for one in found if one.query == query]
        assert [one.rank for one in of_query] == list(range(1, 25))
        scores = [one.score for one in of_query]
        assert scores == sorted(scores, reverse=True)
        for one in of_query[::9]:
            crop = pretrained.crop(_volume(phantom_store, one.volume_id))
            maps = pretrained.similarity_map(crop, [query])
            body = np.where(maps.is_body, maps.values[0], -np.inf)
            expected = np.sort(body.ravel())[-top_k:].mean()
            assert one.score == pytest.approx(expected, abs=2e-3)  # patches are float16
            cell = np.linalg.inv(maps.affine) @ (*one.mm, 1)
            there = maps.values[0][tuple(np.round(cell[:3]).astype(int))]
            assert there == pytest.approx(body.max(), abs=2e-3)


def _volume(store, volume_id):
    from simcrop.data.volume import Volume

    return Volume(*store.read_hu(volume_id), volume_id)


def test_global_search_is_the_product_of_whole_vectors(index, pretrained):
    found = search(index, pretrained, QUERIES[:1], by=GLOBAL, limit=3)
    vector = pretrained.embed_sentences(QUERIES[:1])[0]
    scores = index.global_embeddings @ vector
    assert [one.row for one in found] == np.argsort(-scores)[:3].tolist()
    assert found[0].score == pytest.approx(scores.max())


def test_a_study_is_listed_once_by_its_best_volume(index, pretrained):
    index.table.loc[:, "study_id"] = ["one"] * 12 + ["two"] * 12
    try:
        found = search(index, pretrained, QUERIES[:1], limit=10)
    finally:
        index.table.loc[:, "study_id"] = index.table["volume_id"].str.removesuffix("_ct")
    assert sorted(one.study_id for one in found) == ["one", "two"]


def test_the_axial_slice_is_counted_in_the_files_own_order():
    upward = VoxelGrid((4, 4, 11), np.diag([1.0, 1.0, 2.0, 1.0]))
    assert axial_slice(upward, (0.0, 0.0, 6.2)) == (3, 11)
    assert axial_slice(upward, (0.0, 0.0, 99.0)) == (10, 11)
    flipped = np.array([[0, -1, 0, 0], [0, 0, 1, 0], [-2, 0, 0, 20], [0, 0, 0, 1]], dtype=float)
    assert axial_slice(VoxelGrid((11, 4, 4), flipped), (0.0, 0.0, 6.2)) == (7, 11)


def test_the_table_names_study_place_and_slice(index, pretrained):
    table = results_table(search(index, pretrained, QUERIES, limit=2))
    assert len(table.rows) == 4
    assert table.rows[0][2].startswith("phantom_")
    assert table.rows[0][6].endswith(" of 36")


def test_an_index_of_another_checkpoint_is_refused(index, pretrained):
    with pytest.raises(DataError, match=r"was made with weights .* the checkpoint has"):
        search(index, pretrained.untrained(), QUERIES)


def test_what_is_no_index_is_refused_by_what_is_wrong(index, tmp_path):
    with pytest.raises(DataError, match="no index for search"):
        open_index(tmp_path)
    broken = tmp_path / "broken"
    shutil.copytree(index.folder, broken)
    np.save(broken / "affines.npy", index.affines[:3])
    with pytest.raises(DataError, match=r"rows differ: .*'affines': 3"):
        open_index(broken)
    old = tmp_path / "old"
    shutil.copytree(index.folder, old)
    description = json.loads((old / "index.json").read_text())
    del description["weights"]
    (old / "index.json").write_text(json.dumps(description))
    with pytest.raises(DataError, match="lacks weights"):
        open_index(old)
    (old / "patch_embeddings.npy").unlink()
    with pytest.raises(DataError, match="--patches"):
        open_index(old)
