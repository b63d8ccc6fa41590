"""Runs are compared on the same items, pairwise; what differs in its items is refused by name."""

from dataclasses import replace

import numpy as np
import pytest

from simcrop.errors import DataError
from simcrop.evaluate.compare import compare
from simcrop.evaluate.compare_folders import compare_folders, name_folders
from simcrop.evaluate.delong import delong
from simcrop.evaluate.intervals import auroc_differences, auroc_intervals, mean_intervals
from simcrop.evaluate.items import Items, items_of_groups
from simcrop.evaluate.results import Result

LABELS = ("nodule", "effusion")


def scores(model="a", noise=1.0, seed=0, *, per_patient=2, n=80) -> Items:
    truth = np.random.default_rng(9).integers(2, size=(n, 2))
    values = truth + noise * np.random.default_rng(seed).normal(size=(n, 2))
    patients = tuple(f"p{i // per_patient}" for i in range(n))
    ids = tuple(f"v{i}" for i in range(n))
    return Items(model, "auroc", ids, patients, LABELS, values, truth)


def hits(seed=0, model="a") -> Items:
    rng = np.random.default_rng(seed)
    groups = [LABELS[i % 2] for i in range(60)]
    patients = [f"p{i // 3}" for i in range(60)]
    ids = [f"s{i}" for i in range(60)]
    return items_of_groups(model, "hit", ids, patients, groups, rng.integers(2, size=60) * 1.0)


def shuffled(items: Items) -> Items:
    order = np.random.default_rng(1).permutation(len(items.item_ids))
    return replace(
        items,
        item_ids=tuple(items.item_ids[i] for i in order),
        patient_ids=tuple(items.patient_ids[i] for i in order),
        names=items.names[::-1],
        values=items.values[order][:, ::-1],
        truth=None if items.truth is None else items.truth[order][:, ::-1],
    )


def ends(result) -> list[float]:
    return [x for i in (*result.per_label, result.mean) for x in (i.value, i.low, i.high)]


def test_aurocs_and_their_paired_differences_are_those_of_the_intervals():
    one, other = scores(), scores("b", noise=2.0, seed=1)
    found = compare({"x": one, "y": shuffled(other)}, seed=3)
    expected = auroc_intervals(one.values, one.truth, one.patient_ids, seed=3)
    assert ends(found.values["x"]) == pytest.approx(ends(expected))
    difference = auroc_differences(one.values, other.values, one.truth, one.patient_ids, seed=3)
    assert ends(found.differences["y"]) == pytest.approx(ends(difference))
    assert found.delong == {}  # two volumes of a patient are not independent
    assert (found.num_items, found.num_patients) == (80, 40)


def test_delong_stands_beside_where_patients_have_one_item_each():
    one, other = (scores(noise=noise, seed=i, per_patient=1) for i, noise in enumerate((1.0, 2.0)))
    (tests,) = compare({"x": one, "y": other}).delong.values()
    assert tests[0] == delong(one.values[:, 0], other.values[:, 0], one.truth[:, 0])


def test_values_are_compared_by_their_means():
    one, other = hits(0), hits(1)
    found = compare({"x": one, "y": shuffled(other)})
    label = np.array([np.flatnonzero(~np.isnan(row))[0] for row in one.values])
    values = np.nansum(one.values, axis=1)
    expected = mean_intervals(values, label, 2, one.patient_ids)
    assert ends(found.values["x"]) == pytest.approx(ends(expected))
    gap = np.nanmean(one.values, axis=0) - np.nanmean(other.values, axis=0)
    assert [one.value for one in found.differences["y"].per_label] == pytest.approx(gap)


@pytest.mark.parametrize("lacking", [np.nan, np.inf])
def test_values_that_one_run_lacks_leave_both_and_are_counted(lacking):
    one, other = hits(0), hits(1)
    other.values[0, 0] = lacking
    found = compare({"x": one, "y": other})
    assert found.num_unpaired == 1
    assert found.values["x"].per_label[0].value == pytest.approx(np.nanmean(one.values[1:, 0]))
    assert np.isfinite(found.differences["y"].mean.high)


def test_a_run_does_not_differ_from_itself():
    (difference,) = compare({"x": scores(), "y": scores()}).differences.values()
    assert difference.mean.low == difference.mean.value == difference.mean.high == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"item_ids": tuple(f"w{i}" for i in range(80))}, "has 80 items"),
        ({"patient_ids": tuple(f"p{i}" for i in range(80))}, "other patients"),
        ({"truth": 1 - scores().truth}, "other labels"),
        ({"measure": "score"}, "other measures"),
        ({"names": ("nodule", "other")}, "expected the same items and labels"),
    ],
)
def test_runs_that_do_not_meet_are_refused(change, message):
    with pytest.raises(DataError, match=message):
        compare({"x": scores(), "y": replace(scores(), **change)})


def test_on_request_the_common_items_and_labels_are_compared():
    fewer = replace(
        scores(),
        item_ids=tuple(f"v{i}" if i < 50 else f"w{i}" for i in range(80)),
        names=("nodule", "other"),
    )
    found = compare({"x": scores(), "y": fewer}, on_common=True)
    assert (found.num_items, found.names) == (50, ("nodule",))
    nothing = replace(fewer, names=("a", "b"))
    with pytest.raises(DataError, match="no item and label in common"):
        compare({"x": scores(), "y": nothing}, on_common=True)


def result(*items: Items, note="") -> Result:
    return Result("probe", {}, {}, "hash", (0,), {}, note=note, items=items)


def test_folders_share_measures_and_keep_their_notes():
    folders = {
        "x": result(scores(), scores("untrained", 3.0), hits(), note="selected on test"),
        "y": result(scores("z", 2.0, 1)),
    }
    found = compare_folders(folders, versions={})
    assert set(found.figures) == {"auroc"}
    assert found.settings["models"] == {"x": "a", "y": "z"}
    assert found.note == "x: selected on test"
    (table,) = found.tables.values()
    assert table.header == ("auroc", "x", "y", "x minus y")
    assert [row[0] for row in table.rows] == [*LABELS, "mean"]
    assert set(found.drawings) == {"auroc", "auroc_difference"}
    for drawing in found.drawings.values():
        drawing.figure.canvas.draw()
    assert found.figures["auroc"]["differences"]["y"]["mean"]["num_resamples"] == 1000


def test_folders_without_a_common_measure_are_refused():
    with pytest.raises(DataError, match=r"share no measure \(x: auroc; y: hit\)"):
        compare_folders({"x": result(scores()), "y": result(hits())}, versions={})
    with pytest.raises(DataError, match="share no measure"):
        compare_folders({"x": result(scores()), "y": result(scores())}, versions={}, model="none")


def test_folders_of_one_name_are_told_apart(tmp_path):
    folders = [tmp_path / "a" / "probe", tmp_path / "b" / "probe"]
    assert name_folders(folders) == [str(folder) for folder in folders]
    assert name_folders([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
