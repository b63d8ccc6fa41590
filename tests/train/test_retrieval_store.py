"""Pools, duplicates and scores of volumes and reports of a store."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from simcrop.data.preprocessing import center_crop
from simcrop.data.store import Store
from simcrop.errors import CheckpointError, DataError
from simcrop.evaluate.retrieval import DEPTHS
from simcrop.train.networks import build_simcrop
from simcrop.train.pretrained import Pretrained
from simcrop.train.retrieval import retrieve
from simcrop.train.shared_space import GLOBAL, TOP_K, embed_texts, global_texts
from simcrop.train.zero_shot import evaluate_zero_shot
from tiny_run import tiny


@pytest.fixture(scope="module")
def store(phantom_store) -> Store:
    """The phantoms, two of whose training reports say the same in another order and case."""
    store = Store(phantom_store.folder)
    first, second = (store.study_of(volume) for volume in store.volume_ids("train")[:2])
    findings = "Pleural effusion on the left. The heart is not enlarged."
    store.reports.loc[first, "findings"] = findings
    store.reports.loc[second, "findings"] = (
        "the heart is not enlarged. Pleural effusion on the left."
    )
    return store


@pytest.fixture(scope="module")
def pools(pretrained, store):
    studies = [store.study_of(volume) for volume in store.volume_ids("train")]
    return retrieve(
        pretrained, store, part="train", own_pools={"mine": studies[:5]}, num_resamples=30
    )


def test_pools_have_names_and_duplicates_are_counted(pools, store):
    n = len(store.volume_ids("train"))
    assert {name: len(pool.volume_ids) for name, pool in pools.items()} == {
        "studies": n, "distinct": n - 1, "mine": 5,
    }  # fmt: skip
    assert {name: pool.num_duplicates for name, pool in pools.items()} == {
        "studies": 2, "distinct": 0, "mine": 2,
    }  # fmt: skip
    assert pools["studies"].recalls[TOP_K][0].num_ambiguous == 2
    assert pools["distinct"].recalls[TOP_K][0].num_ambiguous == 0


def test_four_tasks_by_two_scores_with_everything_found_at_depth_n(pools):
    for pool in pools.values():
        n = len(pool.volume_ids)
        for recalls in pool.recalls.values():
            tasks = [(one.query, one.candidate) for one in recalls]
            assert tasks == [
                ("report", "volume"), ("volume", "report"), ("sentence", "volume"),
                ("volume", "sentence"),
            ]  # fmt: skip
            for one in recalls[:2]:
                assert one.num_queries == one.num_candidates == n
                values = [one.recall[k].value for k in DEPTHS]
                assert values == sorted(values)
                assert one.recall[50].value == one.chance[50] == 1
                assert 1 <= one.median_rank.value <= n
            assert recalls[2].num_queries > n  # several sentences per report
            assert recalls[3].num_candidates < recalls[2].num_queries  # repeated ones count once


def test_a_report_scores_what_its_sentences_score_on_average(pretrained, phantom_store):
    texts = ["Pleural effusion on the left.", "The heart is enlarged."]
    vectors = embed_texts(pretrained, [*texts, *texts])
    whole = global_texts(pretrained, [texts, texts[:1]], vectors)
    mean = (vectors[texts[0]] + vectors[texts[1]]) / 2
    np.testing.assert_allclose(whole[0], mean / np.linalg.norm(mean), atol=1e-6)
    np.testing.assert_allclose(whole[1], vectors[texts[0]], atol=1e-6)


def test_a_pool_of_strangers_and_a_store_without_reports_are_refused(pretrained, store):
    with pytest.raises(DataError, match="pool mine: 0 of 1 studies are in this part"):
        retrieve(pretrained, store, part="train", own_pools={"mine": ["nobody"]})
    silent = Store(store.folder)
    silent.reports["findings"] = silent.reports["sentences"] = ""
    with pytest.raises(DataError, match="0 volumes with findings in its test part"):
        retrieve(pretrained, silent)


def test_scores_have_names():
    assert (TOP_K, GLOBAL) == ("top-k", "global")


def test_a_contrast_of_wholes_alone_retrieves_and_names_findings_by_wholes(
    store, phantom_store, text_encoder
):
    config = tiny("terms.alignment=false", "terms.instance_contrast=true")
    simcrop = build_simcrop(config, text_dim=text_encoder.dim, vocabulary_size=10)
    model = Pretrained(simcrop, config, text_encoder.fingerprint())
    pool = retrieve(model, store, num_resamples=2)["studies"]
    assert set(pool.recalls) == {GLOBAL}
    found = evaluate_zero_shot(model, phantom_store, num_resamples=2)
    assert found.own_pooling == GLOBAL
    assert np.isfinite(found.scores[GLOBAL]).all()
    # A sentence is a report of one sentence, and the only patch of a volume would be that volume.
    said = ["Pleural effusion on the left."]
    whole = global_texts(model, [said], {})
    np.testing.assert_allclose(model.embed_sentences(said), whole, atol=1e-6)
    crop = center_crop(*store.read_hu(store.volume_ids("test")[0]), model.contract)
    tokens = model.encode([crop]).patch_tokens.clone()
    with torch.no_grad():
        one_by_one = [normalize(simcrop.volume_projection(t[None]), dim=-1) for t in tokens[0]]
    np.testing.assert_allclose(model.embed_patches(crop), torch.cat(one_by_one), atol=1e-6)
    neither = Pretrained(
        build_simcrop(tiny("terms.alignment=false"), text_dim=9, vocabulary_size=10), config, ""
    )
    with pytest.raises(CheckpointError, match="was trained without the alignment"):
        retrieve(neither, store)
