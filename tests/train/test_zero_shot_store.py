"""Findings of a store from sentences: both poolings, the labels of RadChestCT, a user's prompts."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from simcrop.data.label_names import RAD_CHEST_CT
from simcrop.data.store import Store
from simcrop.errors import DataError
from simcrop.evaluate.prompts import PROMPTS, Prompts
from simcrop.train.features import embed_store
from simcrop.train.shared_space import GLOBAL, TOP_K
from simcrop.train.zero_shot import (
    evaluate_zero_shot,
    prompts_of_labels,
    score_findings,
    zero_shot,
)


@pytest.fixture(scope="module")
def features(pretrained, phantom_store):
    return embed_store(pretrained, phantom_store, with_patches=True)


@pytest.fixture(scope="module")
def found(pretrained, phantom_store):
    return evaluate_zero_shot(pretrained, phantom_store, num_resamples=30)


def test_every_label_that_has_prompts_is_scored(pretrained, phantom_store, features):
    names, intervals = zero_shot(pretrained, phantom_store, features)
    assert names == tuple(n for n in phantom_store.labels.columns if n in PROMPTS)
    assert len(names) >= 5
    assert len(intervals.per_label) == len(names)
    assert 0 <= intervals.mean.value <= 1


def test_scores_are_those_of_a_loop_over_maps(pretrained, phantom_store, features):
    sources = {"Cardiomegaly": (PROMPTS["Cardiomegaly"],)}
    k = pretrained.config.alignment.top_k
    scores = score_findings(pretrained, features, sources, pooling=TOP_K, top_k=k)
    for row in (0, 9):
        means = []
        for side in (PROMPTS["Cardiomegaly"].positive, PROMPTS["Cardiomegaly"].negative):
            maps = features.need_patches()[row] @ pretrained.embed_sentences([*side]).T
            best = np.sort(np.where(features.is_body[row][:, None], maps, -9), axis=0)[-k:]
            means.append(best.mean(axis=0).mean())
        odds = np.exp(np.array(means) / pretrained.config.alignment.temperature)
        assert scores[row, 0] == pytest.approx(odds[0] / odds.sum(), abs=1e-5)
    whole = score_findings(pretrained, features, sources, pooling=GLOBAL, top_k=k)
    assert not np.allclose(whole, scores)


def test_the_scorecards_are_of_the_test_part_and_agree_with_sklearn(found, phantom_store):
    assert found.volume_ids == tuple(phantom_store.volume_ids("test"))
    assert set(found.scorecards) == {TOP_K, GLOBAL}
    for pooling, card in found.scorecards.items():
        for i, interval in enumerate(card.auroc.per_label):
            if 0 < found.labels[:, i].sum() < len(found.labels):
                expected = roc_auc_score(found.labels[:, i], found.scores[pooling][:, i])
                assert interval.value == pytest.approx(expected)
    assert found.without_prompts == ()


def test_labels_of_rad_chest_ct_take_the_larger_of_their_parts(pretrained, phantom_store, features):
    store = Store(phantom_store.folder)
    labels = phantom_store.labels
    store.labels = labels.assign(**dict.fromkeys(RAD_CHEST_CT, 0))[[*RAD_CHEST_CT]]
    sources = prompts_of_labels(store, PROMPTS)
    assert tuple(sources) == RAD_CHEST_CT
    parts = ("Arterial wall calcification", "Coronary artery wall calcification")
    assert sources["Calcification"] == tuple(PROMPTS[part] for part in parts)
    asked = {"both": sources["Calcification"], **{p: (PROMPTS[p],) for p in parts}}
    scores = score_findings(pretrained, features, asked, pooling=TOP_K, top_k=3)
    np.testing.assert_array_equal(scores[:, 0], scores[:, 1:].max(axis=1))


def test_own_prompts_name_the_labels_that_are_scored(pretrained, phantom_store):
    mine = {"Cardiomegaly": Prompts(("A big heart.",), ("A normal heart.",))}
    found = evaluate_zero_shot(pretrained, phantom_store, prompts=mine, num_resamples=5)
    assert found.label_names == ("Cardiomegaly",)
    assert len(found.without_prompts) == len(phantom_store.labels.columns) - 1
    with pytest.raises(DataError, match=r"no label of .* has prompts.*--prompts"):
        evaluate_zero_shot(pretrained, phantom_store, prompts={"Cyst": mine["Cardiomegaly"]})


def test_a_part_without_labels_is_refused(pretrained, phantom_store):
    store = Store(phantom_store.folder)
    kept = [store.study_of(volume) for volume in store.volume_ids("train")]
    store.labels = store.labels.loc[kept]
    with pytest.raises(DataError, match="no labelled volume in its test part"):
        evaluate_zero_shot(pretrained, store)
