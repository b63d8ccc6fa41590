"""The probe learns from training patients alone, chooses on validation, reports on test."""

from dataclasses import replace

import numpy as np
import pytest

from simcrop.data.store import Store
from simcrop.errors import DataError
from simcrop.evaluate.classification import mean_auroc
from simcrop.evaluate.results import NamedSet, read_result, write_result
from simcrop.train.feature_files import TOKENS_FILE, load_features, save_features
from simcrop.train.features import Features, embed_store
from simcrop.train.probe import HEADS, ProbePlan, probe
from simcrop.train.probe_run import (
    EncoderFeatures,
    ForeignTest,
    embed_encoders,
    read_encoders,
    run_probe,
)


@pytest.fixture(scope="module")
def folder(pretrained, phantom_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    found = embed_store(pretrained, phantom_store, tokens_path=folder / TOKENS_FILE)
    save_features(found, folder, pretrained, "post_norm_gap")
    return folder


@pytest.fixture(scope="module")
def features(folder) -> Features:
    return load_features(folder).features


def rows_of(features: Features, split: str) -> np.ndarray:
    return np.flatnonzero(features.index["split"] == split)


def poisoned(features: Features, rows: np.ndarray) -> Features:
    vectors = features.volume_embeddings.copy()
    vectors[rows] = 1e3 * np.random.default_rng(0).normal(size=vectors[rows].shape)
    return replace(features, volume_embeddings=vectors)


def test_the_result_has_a_row_per_test_volume_and_a_column_per_label(features, phantom_store):
    (result,) = probe(features, phantom_store)
    test = rows_of(features, "test")
    assert result.label_names == tuple(phantom_store.labels.columns)
    assert result.scores.shape == result.labels.shape == (len(test), len(result.label_names))
    assert ((result.scores >= 0) & (result.scores <= 1)).all()
    expected = phantom_store.labels.loc[features.index["study_id"][test]].to_numpy()
    np.testing.assert_array_equal(result.labels, expected)
    assert result.opened.patient_ids == tuple(features.index["patient_id"][test])
    assert result.num_train == len(rows_of(features, "train"))
    assert len(result.auroc.per_label) == len(result.label_names)


def test_a_test_patient_never_trains(features, phantom_store):
    test = rows_of(features, "test")
    (clean,) = probe(features, phantom_store)
    (spoiled,) = probe(poisoned(features, test[1:]), phantom_store)
    assert spoiled.opened.head.choice == clean.opened.head.choice
    np.testing.assert_array_equal(spoiled.scores[0], clean.scores[0])
    assert not np.allclose(spoiled.scores[1:], clean.scores[1:])


def test_training_features_do_matter(features, phantom_store):
    (spoiled,) = probe(poisoned(features, rows_of(features, "train")), phantom_store)
    assert not np.allclose(spoiled.scores, probe(features, phantom_store)[0].scores)


@pytest.mark.parametrize("head", HEADS)
def test_test_labels_change_no_score_of_any_head(features, phantom_store, head):
    flipped = Store(phantom_store.folder)
    studies = features.index["study_id"][rows_of(features, "test")]
    flipped.labels.loc[studies] = 1 - flipped.labels.loc[studies]
    plan = ProbePlan(head=head, fractions=(0.5,), replay=True)
    (clean,), (spoiled,) = (probe(features, store, plan) for store in (phantom_store, flipped))
    np.testing.assert_array_equal(clean.scores, spoiled.scores)
    np.testing.assert_array_equal(clean.labels, 1 - spoiled.labels)
    assert clean.opened.head.choice == spoiled.opened.head.choice
    assert clean.replay.test_auroc >= clean.replay.auroc


def test_one_plan_gives_every_fraction_and_seed_of_the_same_test_set(features, phantom_store):
    plan = ProbePlan(fractions=(0.2, 1.0, 0.5), seeds=(3, 4))
    results = probe(features, phantom_store, plan)
    assert [(r.fraction, r.seed) for r in results] == [
        (f, s) for f in (1.0, 0.5, 0.2) for s in (3, 4)
    ]
    sizes = [r.num_train_patients for r in results]
    assert sizes == sorted(sizes, reverse=True)
    assert len({r.opened.volume_ids for r in results}) == 1
    assert not np.array_equal(results[2].scores, results[3].scores)
    again = probe(features, phantom_store, plan)
    np.testing.assert_array_equal(results[2].scores, again[2].scores)
    assert results[2].auroc.to_dict(results[2].label_names) == again[2].auroc.to_dict(
        again[2].label_names
    )


def test_studies_without_labels_are_left_out(features, phantom_store):
    partial = Store(phantom_store.folder)
    train, test = rows_of(features, "train"), rows_of(features, "test")
    missing = features.index["study_id"][[train[0], test[0]]]
    partial.labels = partial.labels.drop(index=missing)
    (result,) = probe(features, partial)
    assert result.num_train == len(train) - 1
    assert len(result.scores) == len(test) - 1


def test_a_store_without_labels_or_a_part_is_refused(features, phantom_store):
    bare = Store(phantom_store.folder)
    bare.labels = None
    with pytest.raises(DataError, match=r"has no labels\.csv"):
        probe(features, bare)
    keep = features.index["split"] != "test"
    parts = {"volume_embeddings": features.volume_embeddings, "is_body": features.is_body}
    index = features.index[keep].reset_index(drop=True)
    without = replace(features, index=index, **{n: x[keep] for n, x in parts.items()})
    with pytest.raises(DataError, match="no labelled volume in its test part"):
        probe(without, phantom_store)
    with pytest.raises(DataError, match="without patch tokens"):
        probe(replace(features, patch_tokens=None), phantom_store, ProbePlan(head="attentive"))
    with pytest.raises(ValueError, match="fraction 0"):
        probe(features, phantom_store, ProbePlan(fractions=(0.0,)))
    with pytest.raises(ValueError, match="head 'linear'"):
        probe(features, phantom_store, ProbePlan(head="linear"))


def test_results_are_written_with_their_provenance(pretrained, phantom_store, tmp_path):
    encoders = embed_encoders(pretrained, phantom_store, feature="cls")
    plan = ProbePlan(fractions=(1.0, 0.5), seeds=(1, 2), replay=True)
    probes, result = run_probe(encoders, phantom_store, plan, feature="cls")
    write_result(result, tmp_path)
    written = read_result(tmp_path)
    assert set(written.figures["encoders"]) == set(probes) == {"pre-trained", "untrained"}
    assert [items.model for items in written.items][:2] == [
        "pre-trained",
        "pre-trained, 100 % of patients, seed 2",
    ]
    first, described = probes["pre-trained"][0], written.figures["encoders"]["pre-trained"]
    assert described["auroc"]["mean"]["value"] == pytest.approx(first.auroc.mean.value)
    assert set(described["auroc"]["labels"]) == set(first.label_names)
    assert described["choice"] in described["val_scores"]
    assert described["replay"]["inflation"]["value"] >= 0
    np.testing.assert_array_equal(written.items[0].values, first.scores)
    np.testing.assert_array_equal(written.items[0].truth, first.labels)
    assert written.sets["test"] == NamedSet.of(phantom_store.volume_ids("test"))
    assert written.sets["test"].hash == written.items[0].hash
    assert written.settings["feature"] == "cls"
    assert written.seeds == (1, 2)
    whole, half = written.figures["label_efficiency"]["pre-trained"]
    values = [r.auroc.mean.value for r in probes["pre-trained"][:2]]
    assert whole["mean_auroc"]["value"] == pytest.approx(np.mean(values))
    assert half["seed_deviation"] >= 0
    assert {p.name for p in tmp_path.glob("*.png")} == {
        "auroc.png", "roc.png", "precision_recall.png", "reliability.png", "label_efficiency.png",
    }  # fmt: skip
    text = (tmp_path / "table.md").read_text()
    for part in ("pre-trained minus untrained", "| 50 %", "Replayed selection", "calibration"):
        assert part in text


def test_a_foreign_store_is_tested_by_label_name(features, folder, phantom_store):
    foreign = Store(phantom_store.folder)
    names = [*foreign.labels.columns]
    foreign.labels = foreign.labels[names[::-1][:3]].rename(columns={names[-1]: "Unknown"})
    encoders = [EncoderFeatures("one", features, features)]
    _, result = run_probe(
        encoders, phantom_store, ProbePlan(), ForeignTest(foreign, "all"), feature="x"
    )
    assert result.items[0].names == tuple(names[-2:-4:-1])
    assert len(result.items[0].item_ids) == len(phantom_store.volume_ids())
    items = result.items[0]
    studies = [phantom_store.study_of(volume) for volume in items.item_ids]
    truth = phantom_store.labels.loc[studies, list(items.names)].to_numpy()
    np.testing.assert_array_equal(items.truth, truth)
    # of volumes that trained, the labels are known: scores and labels belong together
    trained = [volume in phantom_store.volume_ids("train") for volume in items.item_ids]
    assert mean_auroc(items.values[trained], truth[trained]).value > 0.7
    foreign.labels = foreign.labels[["Unknown"]]
    with pytest.raises(DataError, match="a label in common"):
        run_probe(encoders, phantom_store, ProbePlan(), ForeignTest(foreign), feature="x")
    with pytest.raises(DataError, match="equally often"):
        read_encoders([folder], phantom_store, (), ForeignTest(foreign))
