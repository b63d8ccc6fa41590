"""Runs of several processes, however they are started, are the run of one process."""

import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from launches import STARTERS, launch
from safetensors.torch import load_file

from simcrop.data.prepare import prepare
from simcrop.errors import ConfigError
from simcrop.train.resume_points import newest_resume_point
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder
from simcrop.train.strategy import strategy_for
from tiny_run import SHORT, read_metrics, tiny

SETTINGS = (
    "optimizer.length=5",
    "optimizer.warmup=1",
    "trainer.checkpoint_steps=3",
    "trainer.diagnostic_studies=2",
    "alignment.negatives=per_image",
    "alignment.volume_pass=unmasked",
    "alignment.reach=0",
    "alignment.standardise=true",
    "fusion.looks_at=embeddings",
    "terms.instance_contrast=true",
)
TOGETHER = (*SETTINGS, "trainer.devices=2", "optimizer.batch_size=4")
SHARDED = (*TOGETHER, "trainer.strategy=fsdp")
IN_TWO = ("optimizer.accumulate=2", "optimizer.length=3", "optimizer.batch_size=4")


@pytest.fixture(scope="module")
def alone(phantom_store, tmp_path_factory) -> RunFolder:
    """Five updates of eight studies in one process."""
    run = RunFolder(tmp_path_factory.mktemp("alone") / "run")
    pretrain(tiny(*SETTINGS), phantom_store, run)
    return run


@pytest.fixture(scope="module")
def accumulated(phantom_store, tmp_path_factory) -> RunFolder:
    """Three updates of twice four studies in one process."""
    run = RunFolder(tmp_path_factory.mktemp("accumulated") / "run")
    pretrain(tiny(*SETTINGS, *IN_TWO), phantom_store, run)
    return run


def assert_same_run(run: RunFolder, alone: RunFolder, *, without: str = "time/") -> None:
    found, expected = read_metrics(run.metrics), read_metrics(alone.metrics)
    expected = {n: v for n, v in expected.items() if without not in n and "time/" not in n}
    assert {name for name in found if "time/" not in name} == expected.keys()
    for name, values in expected.items():  # rounding in four updates moves norms of gradients most
        close = 1e-4 if "gradient_" in name else 1e-5
        assert found[name] == pytest.approx(values, rel=close, abs=close), name
    weights = load_file(run.checkpoint / "model.safetensors")
    for name, expected in load_file(alone.checkpoint / "model.safetensors").items():
        if name.endswith("key_value.bias"):
            continue  # softmax does not feel it: its gradient is rounding, which Adam blows up
        torch.testing.assert_close(weights[name], expected, rtol=1e-3, atol=1e-3, msg=name)
        # So it does to single weights whose gradient is nearly 0: on one processor 2 of 49,152.
        is_far = ~weights[name].isclose(expected, rtol=1e-4, atol=1e-4)
        assert is_far.float().mean() < 1e-3, name


def assert_passed_over(run: RunFolder, step: int) -> None:
    """All processes leave out the batch that one of them could not use, and name all studies."""
    (row,) = csv.DictReader(run.bad_batches.read_text().splitlines())
    assert row["step"] == str(step)
    assert len(set(row["study_ids"].split())) == 8
    assert step not in read_metrics(run.metrics)["train/total_loss"]
    weights = load_file(run.checkpoint / "model.safetensors")
    assert all(tensor.isfinite().all() for tensor in weights.values())


def test_processes_of_torchrun_share_the_weights_or_not(
    alone, accumulated, phantom_store, tmp_path
):
    """One launch of runs: plain, accumulated, in micro-batches, spread, resumed, with a nan."""
    skip = ("optimizer.bad_loss=skip", "optimizer.length=3")
    runs = {
        "ddp": {"settings": TOGETHER},
        "parts": {"settings": (*TOGETHER, "optimizer.micro_batch=1")},
        "accumulated": {"settings": (*TOGETHER, *IN_TWO, "optimizer.batch_size=2")},
        "fsdp_parts": {"settings": (*SHARDED, "optimizer.micro_batch=1")},
        "resumed": {"settings": SHARDED, "stop_at": 2},
        "spoiled": {"settings": (*TOGETHER, *skip), "nan_at": 1, "spoils": "loss"},
        "gradient": {"settings": (*TOGETHER, *skip), "nan_at": 1, "spoils": "gradient"},
        "fsdp_gradient": {
            "settings": (*SHARDED, *skip, "optimizer.clip=1"), "nan_at": 1, "spoils": "gradient",
        },
    }  # fmt: skip
    for name, run in runs.items():
        run |= {"folder": tmp_path / name, "store": phantom_store.folder}
    assert launch("torchrun", 2, [*runs.values()]) == [0, 0]
    for name in ("ddp", "parts"):
        assert_same_run(RunFolder(tmp_path / name), alone)
    assert_same_run(RunFolder(tmp_path / "accumulated"), accumulated)
    for name in ("fsdp_parts", "resumed"):
        assert_same_run(RunFolder(tmp_path / name), alone, without="gradient_")
    for name in ("spoiled", "gradient", "fsdp_gradient"):
        assert_passed_over(RunFolder(tmp_path / name), 1)


@pytest.mark.parametrize(
    ("settings", "without"), [(TOGETHER, "time/"), (SHARDED, "gradient_")], ids=["ddp", "fsdp"]
)
def test_when_one_process_is_killed_the_others_end_and_all_resume(
    settings, without, alone, phantom_store, tmp_path
):
    """The last resume point is of the update before; nobody waits for the one that is gone."""
    every = (*settings, "trainer.checkpoint_steps=1")
    run = {"settings": every, "folder": tmp_path / "run", "store": phantom_store.folder}
    began = time.monotonic()
    survivor, killed = launch("torchrun", 2, [{**run, "kill_at": 3}])
    assert (survivor, killed) == (1, -signal.SIGKILL)
    assert time.monotonic() - began < 120  # gloo itself waits for half an hour where it is not told
    assert newest_resume_point(RunFolder(run["folder"])).step == 3
    assert launch("torchrun", 2, [run]) == [0, 0]
    assert_same_run(RunFolder(run["folder"]), alone, without=without)


def test_processes_of_slurm_are_found(alone, phantom_archive, tmp_path):
    """They start at once on a store whose texts nobody has encoded."""
    prepare(phantom_archive, tmp_path / "store", tiny().contract(), val_fraction=0.2)
    run = {"settings": TOGETHER, "folder": tmp_path / "run", "store": tmp_path / "store"}
    assert launch("slurm", 2, [run]) == [0, 0]
    assert_same_run(RunFolder(tmp_path / "run"), alone)


def test_the_command_starts_the_processes_itself(alone, phantom_store, tmp_path):
    simcrop = Path(sys.executable).with_name("simcrop")
    settings = [part for setting in (*SHORT, *TOGETHER) for part in ("--set", setting)]
    options = ["tiny", "--store", phantom_store.folder, "-o", tmp_path / "run"]
    done = subprocess.run(
        [simcrop, "pretrain", *options, *settings], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(tmp_path / "run" / "checkpoint")]
    assert_same_run(RunFolder(tmp_path / "run"), alone)


def test_torchrun_itself_passes_sigterm_on_and_the_run_leaves_a_resume_point(
    alone, phantom_store, tmp_path
):
    run, simcrop = RunFolder(tmp_path / "run"), Path(sys.executable).with_name("simcrop")
    more = ("optimizer.length=300", "trainer.checkpoint_steps=300", "trainer.workers=1")
    settings = [part for one in (*SHORT, *TOGETHER, *more) for part in ("--set", one)]
    options = ["pretrain", "tiny", "--store", phantom_store.folder, "-o", run.folder, *settings]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    process = subprocess.Popen([*torchrun, simcrop, *options], stderr=subprocess.PIPE, text=True)
    try:
        while process.poll() is None:
            time.sleep(0.1)
            if run.metrics.exists() and "\n2,train/" in run.metrics.read_text():
                break
        process.terminate()
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert "stopped by SIGTERM after" in said
    assert losses_of(run)[0] == pytest.approx(losses_of(alone)[0], rel=1e-5)
    assert 0 < newest_resume_point(run).step < 300


def losses_of(run: RunFolder) -> dict[int, float]:
    return read_metrics(run.metrics)["train/total_loss"]


@pytest.mark.parametrize("starter", STARTERS)
def test_another_number_of_processes_than_the_settings_name_is_refused(starter, monkeypatch):
    for name, value in STARTERS[starter](0, 4).items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(ConfigError, match=r"4 processes were started.*trainer\.devices=4"):
        strategy_for(tiny("trainer.devices=2").trainer)
    assert strategy_for(tiny("trainer.devices=2", "trainer.num_nodes=2").trainer) == "ddp"
