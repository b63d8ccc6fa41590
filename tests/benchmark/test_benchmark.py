"""The benchmark on a minute cell: made once, kept, and summed up."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from simcrop.benchmark import run, sitting
from simcrop.benchmark.cell import Cell, kept, sets_of
from simcrop.benchmark.permuted import PermutedReports
from simcrop.benchmark.run import FULL, Plan, run_benchmark
from simcrop.benchmark.variants import QUICK, VARIANTS
from simcrop.benchmark.words import words_of_findings
from simcrop.data.phantom import MADE_OF
from simcrop.errors import DataError
from simcrop.evaluate.items import Items
from simcrop.evaluate.results import RESULTS_FILE, NamedSet, read_result
from simcrop.evaluate.seeds import mean_of_labels
from simcrop.report.sections import Report

PLAN = Plan(
    variants=("patch_statistics", "untrained", "recommended", "supervised", "cnn"),
    seeds=(1,),
    patients=24,
    test_patients=5,
    away_patients=4,
    steps=2,
    segment_steps=2,
)


def no_progress(done: int, total: int, what: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def finished(phantom_store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "home").mkdir()
    (folder / "home" / "store").symlink_to(phantom_store.folder)
    run_benchmark(folder, PLAN, on_progress=no_progress)
    return folder


def test_every_cell_has_its_measures(finished):
    measures = {
        cell.variant.name: {items.measure for items in read_result(cell.folder).items}
        for cell in PLAN.cells(finished)
    }
    probes = {"probe_100", "probe_10", "probe_1"}
    of_encoders = probes | {f"{name} max" for name in probes}
    of_encoders |= {f"{name} away" for name in of_encoders} | {"patch_dice"}
    assert measures["patch_statistics"] == probes
    assert measures["untrained"] == of_encoders | {"unetr_dice"}
    assert measures["supervised"] == measures["cnn"] == {"probe_100"}
    assert measures["recommended"] > of_encoders | {
        "zero_shot",
        "zero_shot away",
        "chance",
        "hit",
        "hit away",
        "hit swapped",
        "patch_auroc",
        "recall_1 report to volume",
        "recall_10 report to volume",
        "recall_10 volume to report",
        "unetr_dice",
    }


def test_the_tables_name_every_variant_and_the_differences(finished):
    text = (finished / "table.md").read_text()
    assert all(VARIANTS[name].says in text for name in PLAN.variants)
    assert "5 of 5 cells" in text
    result = read_result(finished)
    assert result.figures["cells_done"] == 5
    assert (
        "a: recommended, 1 % of the labels, over patch statistics" in result.figures["differences"]
    )
    assert all(
        min(of.values()) >= 0 < max(of.values()) for of in result.figures["cpu_minutes"].values()
    )
    assert {"variants.png", "labels.png"} <= {path.name for path in finished.glob("*.png")}
    assert VARIANTS["cnn"].says in (finished / "report.html").read_text()


def test_a_finished_cell_is_not_made_again(finished, monkeypatch):
    monkeypatch.setattr(sitting, "run_cell", lambda *_: pytest.fail("made again"))
    run_benchmark(finished, PLAN, on_progress=no_progress)


def test_no_cell_is_started_after_the_time_is_up(finished, monkeypatch):
    monkeypatch.setattr(sitting, "run_cell", lambda *_: pytest.fail("started"))
    more = replace(PLAN, seeds=(1, 2))
    run_benchmark(finished, more, minutes=0.0, on_progress=no_progress)
    assert read_result(finished).figures["cells_done"] == 5


def test_two_cells_at_once_are_the_same_cells(finished, tmp_path, phantom_store):
    (tmp_path / "home").symlink_to(finished / "home")
    (tmp_path / "away").symlink_to(finished / "away")
    two = replace(PLAN, variants=("patch_statistics", "recommended"), segment_steps=0)
    seen = []
    run_benchmark(tmp_path, two, workers=2, on_progress=lambda *what: seen.append(what))
    assert sorted(done for done, total, _ in seen if total == 2) == [0, 1, 2]
    sets = sets_of(phantom_store)
    for own in two.cells(tmp_path):
        cells = {cell.variant.name: cell for cell in PLAN.cells(finished)}
        known = {one.measure: one for one in cells[own.variant.name].read(sets).items}
        for one in own.read(sets).items:
            np.testing.assert_allclose(one.values, known[one.measure].values, rtol=2e-3, atol=1e-3)


def test_a_cell_of_other_settings_is_refused(finished):
    with pytest.raises(DataError, match="other settings"):
        run_benchmark(finished, replace(PLAN, steps=4), on_progress=no_progress)


def test_a_cell_from_before_a_setting_came_is_read_with_its_default(
    finished, phantom_store, tmp_path
):
    made = next(cell for cell in PLAN.cells(finished) if cell.variant.name == "untrained")
    cell = replace(made, folder=Path(shutil.copytree(made.folder, tmp_path / "cell")))
    path, sets = cell.folder / RESULTS_FILE, sets_of(phantom_store)
    values = json.loads(path.read_text())
    alignment = values["settings"]["config"]["alignment"]
    del alignment["whole_share"]
    path.write_text(json.dumps(values))
    assert cell.read(sets).figures["variant"] == "untrained"
    alignment["whole_share"] = 0.5  # of a loss that no untrained network has
    path.write_text(json.dumps(values))
    assert cell.read(sets).figures["variant"] == "untrained"
    alignment["forgotten"] = 1
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match="made with other settings"):
        cell.read(sets)


def test_a_trained_cell_from_before_its_recipe_changed_is_refused(
    finished, phantom_store, tmp_path
):
    made = next(cell for cell in PLAN.cells(finished) if cell.variant.name == "recommended")
    cell = replace(made, folder=Path(shutil.copytree(made.folder, tmp_path / "cell")))
    path, sets = cell.folder / RESULTS_FILE, sets_of(phantom_store)
    assert cell.read(sets).figures["variant"] == "recommended"
    values = json.loads(path.read_text())
    values["settings"]["config"]["alignment"]["whole_share"] = 0.0
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match="made with other settings"):
        cell.read(sets)


@pytest.mark.parametrize("other", [{"patients": 30}, {"test_patients": 4}, {"away_patients": 3}])
def test_other_phantoms_than_the_folder_has_are_refused(finished, other, monkeypatch):
    monkeypatch.setattr(sitting, "run_cell", lambda *_: pytest.fail("started"))
    with pytest.raises(DataError, match=r"phantoms, .* held out; expected"):
        run_benchmark(finished, replace(PLAN, **other), on_progress=no_progress)


def test_phantoms_that_lie_otherwise_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "run_cells", lambda *_, **__: [])
    monkeypatch.setattr(run, "summarise", lambda folder, *_: folder)
    plan = replace(PLAN, spread=1.0, away_patients=0)
    run_benchmark(tmp_path, plan, on_progress=no_progress)
    made_of = json.loads((tmp_path / "home" / "archive" / MADE_OF).read_text())
    assert made_of == {
        "seed": 2026, "patients": 24, "difficulty": 0.5, "away": False, "spread": 1.0,
    }  # fmt: skip
    run_benchmark(tmp_path, plan, on_progress=no_progress)
    with pytest.raises(DataError, match=r"home has phantoms of spread 1\.0; expected 0\.0"):
        run_benchmark(tmp_path, replace(plan, spread=0.0), on_progress=no_progress)


def test_a_cell_of_other_phantoms_is_refused(finished, phantom_store):
    cell, sets = PLAN.cells(finished)[0], sets_of(phantom_store)
    assert cell.read(sets).sets == sets
    with pytest.raises(DataError, match=r"seed_1 was made of other phantoms: val; expected"):
        cell.read(sets | {"val": NamedSet.of(["another"])})


def test_the_values_of_a_cell_are_finite_where_they_belong(finished):
    values = json.loads((finished / "cells/recommended/seed_1/results.json").read_text())
    assert values["settings"]["config"]["name"] == "tiny_recommended"
    assert values["seeds"] == [1]


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_a_possible_run(name, tmp_path):
    cell = Cell(VARIANTS[name], 3, 100, tmp_path)
    assert (cell.config.seed, cell.config.optimizer.length) == (3, 100)
    assert not cell.is_done


def test_the_calibrated_plan_spreads_chests_and_halves_every_patch(tmp_path):
    plan = FULL.calibrated()
    assert (plan.spread, plan.seeds, plan.steps) == (1.0, FULL.seeds, FULL.steps)
    configs = {cell.variant.name: cell.config for cell in plan.cells(tmp_path)}
    assert set(configs) == set(VARIANTS) - {"small_patches", "small_patches_deep"}
    assert {config.volume.patch_shape for config in configs.values()} == {(6, 6, 6)}
    assert configs["per_image"] == VARIANTS["small_patches"].config(5, FULL.steps)
    published = configs["published"].alignment
    assert (published.top_k, published.top_k_start) == (6, None)  # constant, as in the paper


def test_the_quick_table_is_a_part_of_the_full_one():
    assert set(QUICK) <= set(VARIANTS)


def test_permuted_training_reports_are_all_another_patients(phantom_store):
    permuted = PermutedReports(phantom_store.folder, 0)
    train = [phantom_store.study_of(v) for v in phantom_store.volume_ids("train")]
    own = [phantom_store.report(study) for study in train]
    given = [permuted.report(study) for study in train]
    assert all(a != b for a, b in zip(own, given, strict=True))
    assert sorted(r.findings for r in own) == sorted(r.findings for r in given)
    test = phantom_store.study_of(phantom_store.volume_ids("test")[0])
    assert permuted.report(test) == phantom_store.report(test)


def test_a_cell_keeps_ranks_of_scores_which_have_the_same_auroc_and_four_digits_of_the_rest():
    rng = np.random.default_rng(0)
    ids = tuple(map(str, range(60)))
    scores, truth = rng.random((60, 2)).round(2), rng.integers(0, 2, (60, 2))
    items = Items("", "zero_shot", ids, ids, ("a", "b"), scores, truth)
    once = np.ones((1, 60))
    assert mean_of_labels(kept(items), once) == pytest.approx(mean_of_labels(items, once))
    assert kept(items).values.max() <= 60
    hits = replace(items, measure="patch_auroc", truth=None, values=scores / 3)
    np.testing.assert_allclose(kept(hits).values, hits.values, rtol=6e-4)


def test_only_words_that_state_something_are_counted(tokenizer):
    report = Report("No nodule. Pleural effusion on the left.", "Effusion.")
    is_finding = words_of_findings(report, tokenizer)
    pieces = tokenizer(["No nodule. Pleural effusion on the left. Effusion."])["input_ids"][0]
    names = tokenizer.convert_ids_to_tokens(pieces)
    stated = [name for name, counts in zip(names, is_finding, strict=False) if counts]
    assert "".join(stated).replace("##", "").startswith("pleural")
    assert len(is_finding) == len(names) - 1
    assert not is_finding[0]
