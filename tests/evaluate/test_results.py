"""Result folders: written whole, read back as they were, and refused when they are not."""

import json
import math

import numpy as np
import pytest

from simcrop.errors import DataError
from simcrop.evaluate.figures import new_figure
from simcrop.evaluate.intervals import Interval
from simcrop.evaluate.items import Items, items_of_groups
from simcrop.evaluate.results import (
    Drawing,
    NamedSet,
    Result,
    read_result,
    write_result,
)
from simcrop.evaluate.tables import Table

SCORES = Items(
    "pre-trained, 10 %", "auroc", ("s1", "s2", "NA"), ("p1", "p1", "007"),
    ("Nodule", "Effusion, left"),
    np.array([[0.1, 1 / 3], [0.5, 2 / 3], [0.25, np.nan]]), np.array([[0, 1], [1, 0], [1, 1]]),
)  # fmt: skip
HITS = items_of_groups(
    "random", "hit", ["a", "b", "c"], ["p1", "p2", "p2"], ["x", "y", "x"], np.array([1.0, 0.0, 0.5])
)


def make_result(**changes) -> Result:
    parts = {
        "command": "probe",
        "figures": {"auroc": Interval(0.5, math.nan, 0.75, 10).to_dict(), "n": np.int64(3),
                    "array": np.array([0.5, np.nan])},
        "sets": {"test": NamedSet.of(["s2", "s1", "s1"])},
        "contract_hash": "abc",
        "seeds": (0, 1),
        "versions": {"simcrop": "0"},
        "settings": {"fraction": 0.1},
        "items": (SCORES, HITS),
        "tables": {"Test studies.": Table(("label", "AUROC"), (("nodule", "0.7"),))},
        "drawings": {"roc": Drawing(new_figure(1.0, 1.0), "ROC curves.")},
    }  # fmt: skip
    return Result(**(parts | changes))


def assert_same_items(one: Items, other: Items) -> None:
    for name in ("model", "measure", "item_ids", "patient_ids", "names", "higher_is_better"):
        assert getattr(one, name) == getattr(other, name)
    np.testing.assert_array_equal(one.values, other.values)
    assert (one.truth is None) == (other.truth is None)
    if one.truth is not None:
        np.testing.assert_array_equal(one.truth, other.truth)


def test_what_is_written_is_read_back(tmp_path):
    result = make_result(note="selected on test")
    path = write_result(result, tmp_path / "new" / "folder")
    back = read_result(path.parent)
    for name in ("command", "sets", "contract_hash", "seeds", "versions", "settings", "note"):
        assert getattr(back, name) == getattr(result, name)
    assert back.figures == {
        "auroc": {"value": 0.5, "low": None, "high": 0.75, "num_resamples": 10},
        "n": 3,
        "array": [0.5, None],
    }
    for one, other in zip(result.items, back.items, strict=True):
        assert_same_items(one, other)


def test_the_folder_holds_table_and_pictures_and_nothing_unfinished(tmp_path):
    write_result(make_result(note="selected on test"), tmp_path)
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")) == [
        "items", "items/auroc-pre-trained_10_.csv", "items/hit-random.csv",
        "results.json", "roc.png", "table.md",
    ]  # fmt: skip
    text = (tmp_path / "table.md").read_text()
    assert text.startswith("**selected on test**\n\nTest studies.\n\n| label | AUROC |")


def test_an_interrupted_rewrite_leaves_no_result(tmp_path, monkeypatch):
    write_result(make_result(), tmp_path)
    second = make_result()

    def stop(*_, **__) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(second.drawings["roc"].figure, "savefig", stop)
    with pytest.raises(KeyboardInterrupt):
        write_result(second, tmp_path)
    with pytest.raises(DataError, match="no readable result"):
        read_result(tmp_path)


def test_items_have_one_value_for_their_own_label():
    assert HITS.names == ("x", "y")
    np.testing.assert_array_equal(HITS.values, [[1, np.nan], [np.nan, 0], [0.5, np.nan]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_ids": ("a", "a", "b")}, "occur twice"),
        ({"patient_ids": ("p",)}, "1 patients of 3 items"),
        ({"names": ("Nodule",)}, "expected"),
    ],
)
def test_items_that_do_not_fit_are_refused(changes, message):
    parts = {name: getattr(SCORES, name) for name in SCORES.__dataclass_fields__} | changes
    with pytest.raises(ValueError, match=message):
        Items(**parts)


def test_two_items_of_one_name_are_refused(tmp_path):
    with pytest.raises(ValueError, match="twice"):
        write_result(make_result(items=(SCORES, SCORES)), tmp_path)


def test_folders_that_are_no_result_are_refused(tmp_path):
    with pytest.raises(DataError, match="no readable result"):
        read_result(tmp_path)
    write_result(make_result(), tmp_path)
    (tmp_path / "items" / "hit-random.csv").unlink()
    with pytest.raises(DataError, match="no readable table of values"):
        read_result(tmp_path)
    (tmp_path / "results.json").write_text(json.dumps({"encoders": {}}))
    with pytest.raises(DataError, match="no readable result"):
        read_result(tmp_path)


def test_sets_are_the_same_in_any_order():
    assert NamedSet.of(["a", "b"]) == NamedSet.of(["b", "a", "a"]) != NamedSet.of(["a"])
