"""A pre-training run: repeatable, resumable to the last bit, and what it refuses."""

import json
import shutil
from itertools import product

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from simcrop.config import Config, read_config
from simcrop.data.contract import Contract
from simcrop.data.prepare import prepare
from simcrop.data.store import Store
from simcrop.errors import ConfigError, DataError
from simcrop.train import precision
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder
from tiny_run import lasting_rows, read_metrics, tiny

TERMS = ("masked_volume", "masked_report", "alignment", "fusion")
SUBSETS = [s for s in product((True, False), repeat=4) if any(s[:3])]


class StoppedError(Exception):
    """Stands for a killed process."""


def run_into(folder, config: Config, store: Store, *, stop_after: int | None = None) -> RunFolder:
    run = RunFolder(folder)

    def on_progress(done: int, total: int, what: str) -> None:
        if what.startswith("pre-train") and done == stop_after:
            raise StoppedError

    if stop_after is None:
        pretrain(config, store, run)
    else:
        with pytest.raises(StoppedError):
            pretrain(config, store, run, on_progress=on_progress)
    return run


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoint / "model.safetensors")


def assert_same(run: RunFolder, other: RunFolder) -> None:
    mine, theirs = weights(run), weights(other)
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert lasting_rows(run) == lasting_rows(other)


def test_a_run_leaves_everything_needed_to_repeat_and_read_it(tiny_run, tiny_config, phantom_store):
    files = {path.relative_to(tiny_run.folder).as_posix() for path in tiny_run.folder.rglob("*.*")}
    assert files == {
        "config.yaml",
        "run.json",
        "metrics.csv",
        "curves.png",
        "checkpoint/config.json",
        "checkpoint/model.safetensors",
        ".lock",
        "best/config.json",
        "best/model.safetensors",
        "resume/step_00000020.ckpt",
        "resume/step_00000024.ckpt",
    }
    assert read_config(tiny_run.config, Config) == tiny_config
    description = json.loads(tiny_run.description.read_text())
    assert description["seed"] == tiny_config.seed
    assert description["contract_hash"] == phantom_store.contract.hash
    assert description["store"] == str(phantom_store.folder.absolute())
    assert tiny_run.open_store().volumes.equals(phantom_store.volumes)
    assert {"simcrop", "torch", "python"} <= description["versions"].keys()
    assert json.loads((tiny_run.checkpoint / "config.json").read_text())["step"] == 24


def test_every_term_is_logged_on_its_own_in_training_and_validation(tiny_run):
    metrics = read_metrics(tiny_run.metrics)
    losses = ("patch_loss", "report_loss", "alignment_loss", "total_loss")
    terms = {f"{split}/{loss}" for split in ("train", "val") for loss in losses}
    assert terms == {name for name in metrics if name.rpartition("/")[2] in losses}
    speed = {"train/lr", "time/studies_per_second", "time/waiting_share"}
    assert all(name.startswith("val/") for name in set(metrics) - terms - speed)  # diagnostics
    for split in ("train", "val"):
        for step, total in metrics[f"{split}/total_loss"].items():
            parts = sum(metrics[f"{split}/{loss}"][step] for loss in losses[:3])
            assert total == pytest.approx(parts, rel=1e-5)
    assert list(metrics["train/total_loss"]) == list(range(24))
    assert metrics["train/total_loss"][23] < metrics["train/total_loss"][0]


@pytest.mark.parametrize("subset", SUBSETS)
def test_every_subset_of_terms_runs_from_the_configuration(subset, phantom_store, tmp_path):
    switches = [f"terms.{t}={str(on).lower()}" for t, on in zip(TERMS, subset, strict=True)]
    config = tiny("optimizer.length=1", "optimizer.warmup=0", *switches)
    metrics = read_metrics(run_into(tmp_path / "run", config, phantom_store).metrics)
    names = ("patch_loss", "report_loss", "alignment_loss")
    expected = {name for name, on in zip(names, subset, strict=False) if on} | {"total_loss"}
    losses = {name: column for name, column in metrics.items() if name.endswith("_loss")}
    assert {name.removeprefix("train/") for name in losses} == expected
    assert all(0 < value < 100 for column in losses.values() for value in column.values())


SMALL = (
    "optimizer.batch_size=3",
    "optimizer.length=8",
    "optimizer.warmup=2",
    "trainer.checkpoint_steps=3",
    "trainer.validation_epochs=1",
    "fusion.dropout=0.1",
    "masking.word_variants=2",
    "augmentation.crop_scale=[0.8, 1.0]",
    "augmentation.shift_probability=0.5",
    "alignment.top_k_start=30",
)


@pytest.fixture(scope="module")
def unbroken(phantom_store, tmp_path_factory) -> RunFolder:
    """Eight updates in two epochs of four batches."""
    return run_into(tmp_path_factory.mktemp("unbroken") / "run", tiny(*SMALL), phantom_store)


def test_the_same_seed_gives_the_same_run(unbroken, phantom_store, tmp_path):
    assert_same(run_into(tmp_path / "run", tiny(*SMALL), phantom_store), unbroken)


def test_another_seed_gives_another_run(phantom_store, tmp_path):
    short = ("optimizer.length=1", "optimizer.warmup=0", "terms.masked_report=false")
    runs = [run_into(tmp_path / seed, tiny(*short, f"seed={seed}"), phantom_store) for seed in "12"]
    assert runs[0].metrics.read_text() != runs[1].metrics.read_text()


@pytest.mark.parametrize("stop_after", [4, 5, 7])
def test_a_resumed_run_equals_the_unbroken_one(unbroken, phantom_store, tmp_path, stop_after):
    """Resume points lie at 3 (mid-epoch) and 6; validation is due after 4 and 8 updates."""
    config = tiny(*SMALL)
    assert config.fusion.dropout > 0
    run = run_into(tmp_path / "run", config, phantom_store, stop_after=stop_after)
    before = run.metrics.read_text()
    assert before != unbroken.metrics.read_text()
    pretrain(read_config(run.config, Config), phantom_store, run, resume=True)
    assert_same(run, unbroken)


def test_resuming_a_finished_run_changes_nothing(unbroken, phantom_store, tmp_path):
    shutil.copytree(unbroken.folder, tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    pretrain(read_config(run.config, Config), phantom_store, run, resume=True)
    assert_same(run, unbroken)


def test_accumulated_steps_resume_too(phantom_store, tmp_path):
    config = tiny(
        *SMALL, "optimizer.accumulate=2", "optimizer.length=3", "trainer.checkpoint_steps=1"
    )
    whole = run_into(tmp_path / "whole", config, phantom_store)
    stopped = run_into(tmp_path / "stopped", config, phantom_store, stop_after=2)
    pretrain(config, phantom_store, stopped, resume=True)
    assert_same(stopped, whole)


def test_resume_files_hold_no_text_encoder(tiny_run, text_encoder):
    resume = torch.load(tiny_run.resume_points()[0], weights_only=True)
    held = {name for name in resume["state_dict"] if not name.startswith("simcrop.")}
    assert not held
    assert not any("bert" in name for name in resume["state_dict"])
    num_trained = sum(t.numel() for t in resume["state_dict"].values())
    assert num_trained < sum(p.numel() for p in text_encoder.parameters()) / 4
    assert not any("bert" in name for name in weights(tiny_run))


@pytest.mark.parametrize(
    "settings",
    [
        ["trainer.precision=bf16"],
        ["trainer.workers=1"],
        ["trainer.checkpoint_activations=true", "optimizer.fused=false"],
    ],
)
def test_other_ways_to_run_give_nearly_the_same_losses(settings, unbroken, phantom_store, tmp_path):
    config = tiny(*SMALL, *settings, "optimizer.length=3")
    metrics = read_metrics(run_into(tmp_path / "run", config, phantom_store).metrics)
    expected = read_metrics(unbroken.metrics)
    for loss in ("patch_loss", "report_loss", "alignment_loss"):
        name = f"train/{loss}"
        assert metrics[name][0] == pytest.approx(expected[name][0], rel=0.02)


def test_the_run_folder_keeps_the_precision_that_auto_chose(phantom_store, tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "bf16_gain", lambda config: 2.0)
    settings = ("trainer.precision=auto", "trainer.device=cpu", "optimizer.length=5")
    run = run_into(tmp_path / "run", tiny(*SMALL, *settings), phantom_store)
    assert read_config(run.config, Config).trainer.precision == "bf16"


def test_a_run_shorter_than_the_logging_interval_is_still_logged(phantom_store, tmp_path):
    config = tiny("optimizer.length=2", "optimizer.warmup=0", "trainer.log_steps=10")
    run = run_into(tmp_path / "run", config, phantom_store)
    assert read_metrics(run.metrics)["train/total_loss"]
    assert run.curves.exists()


def test_an_occupied_folder_is_refused_and_left_alone(tiny_run, tiny_config, phantom_store):
    before = tiny_run.metrics.read_text()
    with pytest.raises(ConfigError, match=r"already holds a run.*--resume"):
        pretrain(tiny_config, phantom_store, RunFolder(tiny_run.folder))
    assert tiny_run.metrics.read_text() == before


def test_a_store_prepared_otherwise_is_refused_line_by_line(phantom_store, tmp_path):
    config = tiny("volume.spacing_mm=[5.0, 5.0, 7.0]")
    with pytest.raises(DataError) as caught:
        pretrain(config, phantom_store, RunFolder(tmp_path / "run"))
    assert "spacing_mm: [5.0, 5.0, 7.0] here, [5.5, 5.5, 8.0] there" in str(caught.value)
    assert "simcrop prepare" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_window_and_crop_may_differ_from_the_store(phantom_store, tmp_path):
    config = tiny(
        "optimizer.length=1",
        "optimizer.warmup=0",
        "volume.crop_shape=[48, 48, 36]",
        "volume.window_hu=[-1000.0, 200.0]",
    )
    assert isinstance(phantom_store.contract, Contract)
    run_into(tmp_path / "run", config, phantom_store)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["trainer.device=gpu"], "trainer.device = gpu without one"),
        (["text.encoder=/no/such/folder"], "is no folder and no hub name"),
    ],
)
def test_what_cannot_start_leaves_no_folder(settings, message, phantom_store, tmp_path):
    if "gpu" in settings[0] and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(ConfigError, match=message):
        pretrain(tiny(*settings), phantom_store, RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_store_without_training_studies_is_refused(phantom_archive, tiny_config, tmp_path):
    volumes = pd.read_csv(phantom_archive / "volumes.csv").head(1)
    volumes["path"] = [str(phantom_archive / path) for path in volumes.path]
    reports = pd.read_csv(phantom_archive / "reports.csv").head(1).assign(split="test")
    volumes.to_csv(tmp_path / "volumes.csv", index=False)
    reports.to_csv(tmp_path / "reports.csv", index=False)
    prepare(tmp_path, tmp_path / "store", tiny_config.contract())
    with pytest.raises(DataError, match="has no training study"):
        pretrain(tiny_config, Store(tmp_path / "store"), RunFolder(tmp_path / "run"))
