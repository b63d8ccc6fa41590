"""Resume points: whole or absent, the last few kept, a damaged one passed over."""

import json
import logging
import os
import resource
import shutil
import signal

import pytest
import torch

from simcrop.data.store import Store
from simcrop.errors import CheckpointError, ConfigError, DataError, TrainingError
from simcrop.train.checkpoint import load_checkpoint
from simcrop.train.metrics_file import MetricsFile
from simcrop.train.pretrain import Pretraining
from simcrop.train.resume_points import newest_resume_point
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder
from simcrop.train.signals import Stopped
from tiny_run import lasting_rows, read_metrics, tiny

FEW = (
    "optimizer.batch_size=6",
    "optimizer.length=6",
    "optimizer.warmup=1",
    "trainer.checkpoint_steps=1",
    "trainer.validation_epochs=1",
    "trainer.diagnostic_studies=2",
    "terms.masked_report=false",
)


@pytest.fixture(scope="module")
def whole(phantom_store, tmp_path_factory) -> RunFolder:
    """Six updates in three epochs, a resume point after every update."""
    run = RunFolder(tmp_path_factory.mktemp("whole") / "run")
    pretrain(tiny(*FEW), phantom_store, run)
    return run


@pytest.fixture
def stopped(whole, tmp_path) -> RunFolder:
    """A copy of that run, to be damaged."""
    shutil.copytree(whole.folder, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def assert_same(run: RunFolder, other: RunFolder) -> None:
    for folder in ("checkpoint", "best"):
        mine, theirs = (load_checkpoint(r.folder / folder) for r in (run, other))
        assert mine.step == theirs.step
        found = theirs.simcrop.state_dict()
        assert all(t.equal(found[name]) for name, t in mine.simcrop.state_dict().items())
    assert lasting_rows(run) == lasting_rows(other)


def resume(run: RunFolder, store: Store) -> None:
    pretrain(tiny(*FEW), store, run, resume=True)


def test_the_last_points_are_kept_and_the_newest_is_the_end(whole):
    assert [path.name for path in whole.resume_points()] == [
        "step_00000006.ckpt",
        "step_00000005.ckpt",
    ]
    assert not [*whole.folder.rglob(".tmp-*")]
    assert newest_resume_point(whole).step == 6


def test_the_best_checkpoint_is_that_of_the_lowest_validation_loss(whole):
    losses = read_metrics(whole.metrics)["val/total_loss"]
    assert sorted(losses) == [2, 4, 6]
    step = min(losses, key=losses.__getitem__)
    told = json.loads((whole.best / "config.json").read_text())
    assert told["step"] == step
    assert told["best"] == {"figure": "val/total_loss", "value": losses[step]}
    assert load_checkpoint(whole.best).step == step


def test_best_may_mean_highest_and_a_figure_that_nobody_measures_is_told(
    phantom_store, tmp_path, caplog
):
    run = RunFolder(tmp_path / "highest")
    pretrain(tiny(*FEW, "trainer.best_is=highest", "optimizer.length=4"), phantom_store, run)
    losses = read_metrics(run.metrics)["val/total_loss"]
    assert load_checkpoint(run.best).step == max(losses, key=losses.__getitem__)

    run = RunFolder(tmp_path / "unknown")
    pretrain(tiny(*FEW, "trainer.best=val/auroc", "optimizer.length=2"), phantom_store, run)
    assert "val/auroc is not measured; known: val/air_share" in caplog.text
    assert not run.best.exists()


def test_a_truncated_point_is_named_and_the_one_before_is_used(
    whole, stopped, phantom_store, caplog
):
    newest, before = stopped.resume_points()
    os.truncate(newest, newest.stat().st_size // 2)
    with caplog.at_level(logging.WARNING):
        resume(stopped, phantom_store)
    assert f"{newest} cannot be read" in caplog.text
    assert f"going on from {before.name}" in caplog.text
    assert_same(stopped, whole)


@pytest.mark.parametrize("content", [b"", b"not a resume file"])
def test_when_no_point_can_be_read_nothing_is_started_anew(content, stopped, phantom_store):
    for path in stopped.resume_points():
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"00000006\.ckpt cannot be read.*00000005\.ckpt"):
        resume(stopped, phantom_store)


def test_a_point_with_code_in_it_is_not_run(stopped):
    class Harm:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    for path in stopped.resume_points():
        torch.save({"global_step": 3, "harm": Harm()}, path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        newest_resume_point(stopped)


def test_a_run_stopped_before_its_first_point_starts_from_the_beginning(
    whole, stopped, phantom_store, caplog
):
    shutil.rmtree(stopped.resume)
    stopped.metrics.write_text("step,name,value\n0,train/total_loss,9\n1,tra")  # torn by a kill
    resume(stopped, phantom_store)
    assert "has no resume point yet" in caplog.text
    assert_same(stopped, whole)


def test_a_signal_does_not_wait_for_validation_which_is_made_up_for(whole, phantom_store, tmp_path):
    """Validation is due after update 4: the run stops there without it, and resumes with it."""
    run = RunFolder(tmp_path / "run")

    def kill(done, total, what):
        if done == 4 and what.startswith("pre-train"):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="after 4 updates"):
        pretrain(tiny(*FEW), phantom_store, run, on_progress=kill)
    assert sorted(read_metrics(run.metrics)["val/total_loss"]) == [2]
    resume(run, phantom_store)
    assert_same(run, whole)


def test_a_signal_amid_validation_does_not_wait_for_its_end(
    whole, phantom_store, tmp_path, monkeypatch
):
    run, right = RunFolder(tmp_path / "run"), Pretraining.validation_step

    def killed(module, batch, batch_idx):
        if module.global_step == 4:
            os.kill(os.getpid(), signal.SIGUSR1)
        right(module, batch, batch_idx)

    monkeypatch.setattr(Pretraining, "validation_step", killed)
    with pytest.raises(Stopped, match="stopped by SIGUSR1 after 4 updates"):
        pretrain(tiny(*FEW), phantom_store, run)
    monkeypatch.undo()
    assert sorted(read_metrics(run.metrics)["val/total_loss"]) == [2]
    assert newest_resume_point(run).step == 4
    resume(run, phantom_store)
    assert_same(run, whole)


def test_a_full_disk_is_one_error_and_leaves_the_points_before(whole, phantom_store, tmp_path):
    """From update 4 on no file may be longer than 2 MB, which the weights are not, the point is."""
    run, limits = RunFolder(tmp_path / "run"), resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(done, total, what):
        if done == 4 and what.startswith("pre-train"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))

    try:
        with pytest.raises(TrainingError, match=r"File too large.*Make room.*pretrain --resume"):
            pretrain(tiny(*FEW), phantom_store, run, on_progress=fill)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.stem for path in run.resume_points()] == ["step_00000003", "step_00000002"]
    assert not [*run.folder.rglob(".tmp-*")]
    resume(run, phantom_store)
    assert_same(run, whole)


# --- the folder is enough -----------------------------------------------------------------------


def test_a_store_that_has_moved_is_one_error_and_may_be_named(stopped, phantom_store, tmp_path):
    described = json.loads(stopped.description.read_text())
    moved = tmp_path / "moved"
    stopped.description.write_text(json.dumps(described | {"store": str(moved)}))
    with pytest.raises(DataError, match=r"store of this run.*If it has moved: .*--resume.*--store"):
        stopped.open_store()
    shutil.copytree(phantom_store.folder, moved)
    cache = tmp_path / "cache"
    assert stopped.open_store(cache=cache).cache == cache
    assert stopped.open_store(str(phantom_store.folder)).location == str(phantom_store.folder)


def test_the_cache_is_remembered(phantom_store, tmp_path):
    run = RunFolder(tmp_path / "run")
    store = Store(phantom_store.folder, cache=tmp_path / "cache")
    run.start(tiny(), tiny().contract(), store)
    assert run.open_store().cache == tmp_path / "cache"


def test_another_store_is_refused(stopped, phantom_store, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(phantom_store.folder, other)
    lines = (other / "manifest.csv").read_text().splitlines(keepends=True)
    (other / "manifest.csv").write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match="holds other volumes than when"):
        stopped.open_store(str(other))


def test_a_folder_without_a_run_is_told(tmp_path):
    with pytest.raises(ConfigError, match="holds no run"):
        RunFolder(tmp_path).open_store()


def test_tables_are_cut_to_the_size_they_had(tmp_path):
    run = RunFolder(tmp_path)
    table = MetricsFile(run.metrics)
    table.log_metrics({"train/total_loss": 0.5}, 0)
    sizes = run.table_sizes()
    before = run.metrics.read_text()
    table.log_metrics({"train/total_loss": 0.4}, 1)
    run.bad_batches.write_text("step\n1\n")
    run.go_back(sizes)
    assert run.metrics.read_text() == before == "step,name,value\n0,train/total_loss,0.5\n"
    assert not run.bad_batches.exists()
    run.go_back({"metrics.csv": 10**6})  # a machine that lost power may have lost rows
    assert run.metrics.read_text() == before
