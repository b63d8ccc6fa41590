"""The command line from phantoms to maps: paths on stdout, exit codes, one clear line per error."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import yaml
from command_result import assert_refused

from simcrop._version import __version__
from simcrop.cli.main import app
from simcrop.cli.options import num_workers
from simcrop.config import Config
from simcrop.data.store import Store
from simcrop.train.pooling import FEATURES
from tiny_run import SHORT, read_metrics

COMMANDS = (
    "phantom",
    "check",
    "sentences",
    "prepare",
    "pretrain",
    "show",
    "embed",
    "probe",
    "finetune",
    "segment",
    "compare",
    "ground",
    "ground-eval",
    "zero-shot",
    "retrieve",
    "search",
    "plan",
    "recipe",
    "benchmark",
    "demo",
)

SEGMENT_COMMANDS = ("train", "predict", "evaluate")


def settings(*more: str) -> list[str]:
    return [part for setting in (*SHORT, *more) for part in ("--set", setting)]


# --- help ---------------------------------------------------------------------------------------


def run_python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )


def test_help_imports_nothing_heavy_and_answers_within_a_second():
    code = (
        "import sys, time\n"
        "from simcrop.cli.main import main\n"
        "sys.argv = ['simcrop', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'numpy', 'pandas', 'lightning', 'monai', 'SimpleITK', 'transformers'}\n"
        "print(sorted(heavy & set(sys.modules)), time.process_time(), file=sys.stderr)"
    )
    found, seconds = run_python(code).stderr.rsplit(maxsplit=1)
    assert found == "[]"
    assert float(seconds) < 1


@pytest.mark.parametrize(
    "command",
    [*(c for c in COMMANDS if c != "segment"), *(f"segment {c}" for c in SEGMENT_COMMANDS)],
)
def test_every_command_explains_itself(simcrop, command):
    result = simcrop(*command.split(), "--help")
    assert result.code == 0
    assert "Usage: simcrop" in result.stdout
    options = [line for line in result.stdout.splitlines() if line.startswith("  -")]
    assert len(options) >= 2


def test_help_lists_every_command_and_the_version_is_told(simcrop):
    text = simcrop("--help").stdout
    assert {
        command.name or command.callback.__name__.replace("_", "-")
        for command in (*app.registered_commands, *app.registered_groups)
    } == {"convert", *COMMANDS}
    assert all(f"  {command} " in text for command in COMMANDS)
    assert simcrop("--version").stdout.strip() == __version__


def test_the_choices_of_features_are_those_of_the_model(simcrop):
    result = simcrop("probe", "-c", "x", "-s", "x", "-o", "x", "--feature", "x")
    assert f"expected one of auto, {', '.join(FEATURES)}" in " ".join(result.stderr.split())


# --- from nothing to maps -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cli")


@pytest.mark.slow
def test_the_way_from_phantoms_to_maps(simcrop, work):
    """One story, in the order a newcomer types it."""
    archive, store, run = work / "archive", work / "store", work / "run"
    result = simcrop("phantom", "-o", archive, "--patients", 12, "--seed", 3, "--workers", 1)
    assert (result.code, result.paths) == (0, [archive])
    assert "next: simcrop prepare" in result.stderr

    options = ["--recipe", "tiny", "--workers", 1, "--test-fraction", 0.3]
    result = simcrop("prepare", "-i", archive, "-o", store, *options)
    assert (result.code, result.paths) == (0, [store])
    assert "12 prepared, 0 were ready, 0 refused" in result.stderr
    again = simcrop("prepare", "-i", archive, "-o", store, *options)
    assert again.code == 0
    assert "0 prepared, 12 were ready" in again.stderr

    changed = settings("optimizer.length=6", "alignment.reach=0")
    result = simcrop("pretrain", "tiny", "-s", store, "-o", run, *changed)
    assert (result.code, result.paths) == (0, [run / "checkpoint"])
    assert "pre-train" in result.stderr
    assert len(read_metrics(run / "metrics.csv")["train/total_loss"]) == 6

    result = simcrop("embed", "-c", run, "-s", store, "-o", work / "features", "--patches")
    assert (result.code, result.paths) == (0, [work / "features"])
    assert np.load(work / "features" / "volume_embeddings.npy").shape == (12, 128)  # aligned_max
    assert np.load(work / "features" / "patch_embeddings.npy").shape[:2] == (12, 120)

    output = work / "probe"
    options = ["--fractions", "0.5,1", "--replay-selection"]
    result = simcrop("probe", "-c", run, "-s", store, "-o", output, *options)
    assert (result.code, result.paths) == (0, [output / "results.json", output / "report.html"])
    assert "untrained" in result.stderr
    encoders = json.loads(result.paths[0].read_text())["figures"]["encoders"]
    assert set(encoders) == {"pre-trained", "untrained"}

    options = ["--features", work / "features", "-s", store]
    assert simcrop("probe", *options, "-o", work / "nearest", "--head", "nearest").code == 0
    result = simcrop("compare", output, work / "nearest", "-o", work / "compared")
    assert result.code == 0
    assert "probe minus nearest" in result.stderr
    assert all(path.exists() for path in result.paths)
    foreign = ["--test-store", store, "--test-features", work / "features", "--test-part", "all"]
    result = simcrop("probe", *options, *foreign, "-o", work / "foreign")
    assert result.code == 0
    assert json.loads(result.paths[0].read_text())["sets"]["test"]["size"] == 12
    result = simcrop("finetune", "-c", run, "-s", store, "-o", work / "tuned", "--epochs", 1)
    assert result.code == 0
    assert "fine-tuned minus frozen" in result.stderr
    assert simcrop("embed", "-c", work / "tuned", "-s", store, "-o", work / "again").code == 0
    untrained = [output, work / "nearest", "-o", work / "other", "--model", "untrained"]
    assert_refused(simcrop("compare", *untrained), 1, "share no measure")

    volume = archive / "volumes" / "phantom_000001.nii.gz"
    asked = ["--sentence", "Pleural effusion on the left.", "--sentence", "Heart size is normal."]
    result = simcrop("ground", "-c", run, "-v", volume, *asked, "-o", work / "maps")
    assert result.code == 0
    assert [path.name for path in result.paths] == [
        "1_map.nii.gz",
        "1_picture.png",
        "2_map.nii.gz",
        "2_picture.png",
    ]
    assert all(path.exists() for path in result.paths)
    assert "mm RAS+" in result.stderr
    assert np.abs(nibabel.load(result.paths[0]).get_fdata()).max() <= 1


def test_files_are_embedded_and_the_bad_ones_give_exit_code_1(
    simcrop, tiny_run, phantom_archive, tmp_path
):
    good = phantom_archive / "volumes" / "phantom_000000.nii.gz"
    (tmp_path / "bad.nii.gz").write_bytes(b"")
    command = ["embed", "-c", tiny_run.folder, "-o", tmp_path / "out", "-v", good]
    assert simcrop(*command).code == 0
    result = simcrop(*command, "-v", tmp_path / "bad.nii.gz")
    assert result.code == 1
    assert "1 embedded, 1 failed" in result.stderr
    failed = pd.read_csv(tmp_path / "out" / "failed.csv")
    assert failed.volume_id.tolist() == [str(tmp_path / "bad.nii.gz")]
    assert len(np.load(tmp_path / "out" / "volume_embeddings.npy")) == 1


def test_refused_volumes_give_exit_code_1_and_the_rest_is_prepared(
    simcrop, phantom_archive, tmp_path
):
    archive = tmp_path / "archive"
    archive.mkdir()
    volumes = pd.read_csv(phantom_archive / "volumes.csv").head(4)
    volumes["path"] = [str(phantom_archive / path) for path in volumes.path]
    (archive / "bad.nii.gz").write_bytes(b"no volume")
    volumes.loc[1, "path"] = "bad.nii.gz"
    volumes.to_csv(archive / "volumes.csv", index=False)
    shutil.copy(phantom_archive / "reports.csv", archive)
    store = tmp_path / "store"
    result = simcrop("prepare", "-i", archive, "-o", store, "--recipe", "tiny", "--workers", 1)
    assert (result.code, result.paths) == (1, [store])
    assert "3 prepared, 0 were ready, 1 refused" in result.stderr
    assert f"see {store / 'refused.csv'}" in result.stderr
    assert pd.read_csv(store / "refused.csv").volume_id.tolist() == [volumes.volume_id[1]]
    assert len(Store(store).volume_ids()) == 3


def test_settings_reach_the_run_and_resume_goes_on(simcrop, phantom_store, tmp_path):
    run = tmp_path / "run"
    terms = ["terms.masked_report=false", "terms.masked_volume=false"]
    short = settings("optimizer.length=3", "optimizer.warmup=1", "trainer.checkpoint_steps=2")
    more = [part for term in terms for part in ("--set", term)]
    command = ["pretrain", "tiny", "-s", phantom_store.folder, "-o", run]
    assert simcrop(*command, *short, *more).code == 0
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written["terms"]["masked_report"] is False
    assert written["optimizer"]["length"] == 3
    metrics = (run / "metrics.csv").read_text()
    assert "report_loss" not in metrics
    result = simcrop("pretrain", "--resume", run)  # store and settings come from the run
    assert f"simcrop embed --checkpoint {run} --store {phantom_store.folder}" in result.stderr
    assert (result.code, result.paths) == (0, [run / "checkpoint"])
    assert (run / "metrics.csv").read_text() == metrics
    assert_refused(simcrop(*command, *short), 1, "already holds a run")
    result = simcrop("show", run, "--html")
    assert (result.code, result.stderr) == (0, "")
    assert "finished, 3 of 3 updates" in result.stdout
    assert f"next: simcrop embed --checkpoint {run}" in result.stdout
    assert result.stdout.endswith(f"{run / 'report.html'}\n")
    assert "train/total_loss" in (run / "report.html").read_text()
    for more in (["--set", "seed=1"], ["-o", run], ["tiny"]):
        assert_refused(simcrop("pretrain", *more, "--resume", run), 2, "settings from the run")


def test_a_recipe_is_printed_with_every_default_and_can_be_used_as_a_file(simcrop, tmp_path):
    text = simcrop("recipe", "tiny", "--set", "optimizer.lr=1e-4").stdout
    config = Config.model_validate(yaml.safe_load(text))
    assert config.optimizer.lr == 1e-4
    assert config.name == "tiny"
    (tmp_path / "mine.yaml").write_text(text)
    assert simcrop("recipe", tmp_path / "mine.yaml").stdout == text


def test_zero_workers_means_all_cores_given_to_this_process():
    assert num_workers(0) == len(os.sched_getaffinity(0))
    assert num_workers(3) == 3
