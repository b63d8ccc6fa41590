"""The probe learns from training patients alone, chooses on validation, reports on test."""

from dataclasses import replace

import numpy as np
import pytest

from simcrop.data.store import Store
from simcrop.errors import DataError
from simcrop.evaluate.results import NamedSet, read_result
from simcrop.train import probe as probe_module
from simcrop.train.features import Features, embed_store
from simcrop.train.probe import probe, probe_encoders, write_probe


@pytest.fixture(scope="module")
def features(pretrained, phantom_store) -> Features:
    return embed_store(pretrained, phantom_store)


@pytest.fixture
def fits(monkeypatch) -> list[tuple[np.ndarray, ...]]:
    """The arrays that every fit was given."""
    seen = []
    fit = probe_module.fit_linear_probe

    def record(*arrays):
        seen.append(arrays)
        return fit(*arrays)

    monkeypatch.setattr(probe_module, "fit_linear_probe", record)
    return seen


def rows_of(features: Features, split: str) -> np.ndarray:
    return np.flatnonzero(features.index["split"] == split)


def poisoned(features: Features, rows: np.ndarray) -> Features:
    vectors = features.volume_embeddings.copy()
    vectors[rows] = 1e3 * np.random.default_rng(0).normal(size=vectors[rows].shape)
    return replace(features, volume_embeddings=vectors)


def test_the_result_has_a_row_per_test_volume_and_a_column_per_label(features, phantom_store):
    result = probe(features, phantom_store)
    test = rows_of(features, "test")
    assert result.label_names == tuple(phantom_store.labels.columns)
    assert result.scores.shape == result.labels.shape == (len(test), len(result.label_names))
    assert ((result.scores >= 0) & (result.scores <= 1)).all()
    expected = phantom_store.labels.loc[features.index["study_id"][test]].to_numpy()
    np.testing.assert_array_equal(result.labels, expected)
    assert result.patient_ids == tuple(features.index["patient_id"][test])
    assert result.num_train == len(rows_of(features, "train"))
    assert len(result.auroc.per_label) == len(result.label_names)


def test_only_training_volumes_are_fitted_and_validation_chooses(features, phantom_store, fits):
    probe(features, phantom_store)
    train, train_labels, val, _ = fits[0]
    np.testing.assert_array_equal(train, features.volume_embeddings[rows_of(features, "train")])
    np.testing.assert_array_equal(val, features.volume_embeddings[rows_of(features, "val")])
    assert train_labels.shape == (len(train), len(phantom_store.labels.columns))


def test_a_test_patient_never_trains(features, phantom_store):
    test = rows_of(features, "test")
    clean = probe(features, phantom_store)
    spoiled = probe(poisoned(features, test[1:]), phantom_store)
    assert spoiled.c == clean.c
    np.testing.assert_array_equal(spoiled.scores[0], clean.scores[0])
    assert not np.allclose(spoiled.scores[1:], clean.scores[1:])


def test_training_features_do_matter(features, phantom_store):
    spoiled = probe(poisoned(features, rows_of(features, "train")), phantom_store)
    assert not np.allclose(spoiled.scores, probe(features, phantom_store).scores)


def test_test_labels_change_no_score(features, phantom_store):
    flipped = Store(phantom_store.folder)
    studies = features.index["study_id"][rows_of(features, "test")]
    flipped.labels.loc[studies] = 1 - flipped.labels.loc[studies]
    clean, spoiled = probe(features, phantom_store), probe(features, flipped)
    np.testing.assert_array_equal(clean.scores, spoiled.scores)
    np.testing.assert_array_equal(clean.labels, 1 - spoiled.labels)


def test_fractions_are_of_patients_nested_and_leave_val_and_test_alone(
    features, phantom_store, fits
):
    results = [probe(features, phantom_store, fraction=f, seed=3) for f in (1.0, 0.5, 0.2)]
    sets = [{tuple(row) for row in train} for train, *_ in fits]
    assert sets[2] < sets[1] < sets[0]
    assert [r.num_train for r in results] == [len(s) for s in sets]
    assert len({val.tobytes() for _, _, val, _ in fits}) == 1
    assert len({len(r.scores) for r in results}) == 1
    probe(features, phantom_store, fraction=0.5, seed=4)
    assert {tuple(row) for row in fits[-1][0]} != sets[1]


def test_the_probe_is_repeatable(features, phantom_store):
    first, second = (probe(features, phantom_store, fraction=0.5, seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.scores, second.scores)
    names = first.label_names
    assert first.auroc.to_dict(names) == second.auroc.to_dict(names)


def test_studies_without_labels_are_left_out(features, phantom_store):
    partial = Store(phantom_store.folder)
    train, test = rows_of(features, "train"), rows_of(features, "test")
    missing = features.index["study_id"][[train[0], test[0]]]
    partial.labels = partial.labels.drop(index=missing)
    result = probe(features, partial)
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
    with pytest.raises(ValueError, match="fraction 0"):
        probe(features, phantom_store, fraction=0.0)


def test_results_are_written_with_their_provenance(pretrained, phantom_store, tmp_path):
    encoders = {"pre-trained": pretrained, "untrained": pretrained.untrained()}
    results = probe_encoders(encoders, phantom_store, fraction=0.5, seed=1)
    write_probe(results, phantom_store, tmp_path, fraction=0.5, seed=1, feature="cls")
    written = read_result(tmp_path)
    assert set(written.figures["encoders"]) == set(encoders)
    for items, (name, result) in zip(written.items, results.items(), strict=True):
        auroc = written.figures["encoders"][name]["auroc"]
        assert set(auroc["labels"]) == set(result.label_names)
        assert auroc["mean"]["value"] == pytest.approx(result.auroc.mean.value)
        np.testing.assert_array_equal(items.values, result.scores)
        np.testing.assert_array_equal(items.truth, result.labels)
    assert written.sets["test"] == NamedSet.of(phantom_store.volume_ids("test"))
    assert written.sets["test"].hash == written.items[0].hash
    assert written.settings == {"fraction": 0.5, "feature": "cls", "split": "clean"}
    assert written.seeds == (1,)
    assert "difference" in written.figures
    assert "mean" in (tmp_path / "table.md").read_text()
    assert (tmp_path / "roc.png").exists()
