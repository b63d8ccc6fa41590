"""What a cluster and bad data do to a run: signals, losses that are not finite."""

import csv
import os
import signal

import pytest
import torch
from launches import spoil
from lightning.pytorch import LightningModule, Trainer

from simcrop.errors import TrainingError
from simcrop.train import losses as batch_losses
from simcrop.train import signals
from simcrop.train.checkpoint import load_checkpoint
from simcrop.train.pretrain import BAD_IN_A_ROW
from simcrop.train.resume_points import ResumePoints
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder
from simcrop.train.signals import StopOnSignal, Stopped
from tiny_run import read_metrics, tiny

FEW = (
    "optimizer.batch_size=3",
    "optimizer.length=6",
    "optimizer.warmup=1",
    "trainer.checkpoint_steps=100",
    "trainer.diagnostic_studies=0",
    "terms.masked_report=false",
    "terms.alignment=false",
)


def weights(run: RunFolder) -> dict[str, torch.Tensor]:
    return load_checkpoint(run.folder).simcrop.state_dict()


def run_of(folder, store, *settings, **options) -> RunFolder:
    run = RunFolder(folder)
    pretrain(tiny(*FEW, *settings), store, run, **options)
    return run


@pytest.fixture(scope="module")
def undisturbed(phantom_store, tmp_path_factory):
    return run_of(tmp_path_factory.mktemp("undisturbed") / "run", phantom_store)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_leaves_a_resume_point_and_the_run_goes_on(
    name, undisturbed, phantom_store, tmp_path
):
    def kill(done, total, what):
        if done == 2 and what.startswith("pre-train"):
            os.kill(os.getpid(), getattr(signal, name))

    run = RunFolder(tmp_path / "run")
    before = signal.getsignal(getattr(signal, name))
    with pytest.raises(
        Stopped, match=rf"stopped by {name} after [23] updates.*--resume {run.folder}"
    ):
        pretrain(tiny(*FEW), phantom_store, run, on_progress=kill)
    assert signal.getsignal(getattr(signal, name)) == before
    assert torch.load(run.resume_points()[0], weights_only=True)["global_step"] in (2, 3)
    pretrain(tiny(*FEW), phantom_store, run, resume=True)
    for key, tensor in weights(undisturbed).items():
        assert tensor.equal(weights(run)[key])


def test_a_second_signal_is_an_echo_at_first_and_later_acts_as_before(tmp_path, monkeypatch):
    hits, now = [], [0.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    before = signal.signal(signal.SIGUSR1, lambda *_: hits.append(1))
    stop = StopOnSignal(ResumePoints(RunFolder(tmp_path), every=1, keep=1))
    nothing = Trainer(logger=False, enable_checkpointing=False), LightningModule()
    try:
        stop.setup(*nothing, stage="fit")
        for moment, num_hits in ((0.0, 0), (4.0, 0), (6.0, 1), (7.0, 2)):
            now[0] = moment
            os.kill(os.getpid(), signal.SIGUSR1)
            assert len(hits) == num_hits
        stop.on_train_end(*nothing)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert len(hits) == 3
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_run_stopped_before_its_first_value_has_no_curves(tmp_path):
    run = RunFolder(tmp_path)
    run.metrics.write_text("step,name,value\n")
    assert run.draw_curves() is None
    assert not run.curves.exists()


def test_a_signal_amid_accumulated_batches_waits_for_the_update(phantom_store, tmp_path):
    settings = [*FEW, "optimizer.accumulate=3", "optimizer.length=3", "trainer.log_steps=3"]
    whole = RunFolder(tmp_path / "whole")
    pretrain(tiny(*settings), phantom_store, whole)

    run, right, calls = RunFolder(tmp_path / "run"), batch_losses.patch_loss, iter(range(99))

    def kill_in_second_batch(*args, **kwargs):
        if next(calls) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return right(*args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_losses, "patch_loss", kill_in_second_batch)
        with pytest.raises(Stopped, match="stopped by SIGTERM after 1 updates"):
            pretrain(tiny(*settings), phantom_store, run)
    assert torch.load(run.resume_points()[0], weights_only=True)["global_step"] == 1
    pretrain(tiny(*settings), phantom_store, run, resume=True)
    for key, tensor in weights(whole).items():
        assert tensor.equal(weights(run)[key])


def bad_batches(run: RunFolder) -> list[dict[str, str]]:
    with run.bad_batches.open(newline="") as file:
        return list(csv.DictReader(file))


STANDARDISED = (
    "terms.alignment=true",
    "alignment.negatives=per_image",
    "alignment.standardise=true",
)


def spoiled_run(folder, store, what: str, steps, *settings: str) -> RunFolder:
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, what, steps)
        return run_of(folder, store, *settings)


@pytest.mark.parametrize(
    ("what", "found"), [("loss", "total loss nan"), ("gradient", "gradient norm nan")]
)
def test_what_is_not_finite_stops_the_run_and_names_its_studies(
    what, found, phantom_store, tmp_path
):
    with pytest.raises(TrainingError, match=rf"{found} at update 3, studies .*lower") as caught:
        spoiled_run(tmp_path / "run", phantom_store, what, {3})
    (row,) = bad_batches(RunFolder(tmp_path / "run"))
    assert row["step"] == "3"
    assert (row["total_loss"] == "nan") == (what == "loss")
    studies = row["study_ids"].split()
    assert len(studies) == 3
    assert all(study in str(caught.value) for study in studies)


@pytest.mark.parametrize(
    "settings",
    [(), ("optimizer.clip=0.1", "optimizer.micro_batch=2"), ("optimizer.accumulate=2",)],
    ids=["plain", "clipped_in_parts", "accumulated"],
)
def test_or_its_batches_are_passed_over(settings, phantom_store, tmp_path):
    """A nan in a gradient alone leaves weights and what is usual as a nan in the loss does."""
    settings = (*STANDARDISED, *settings, "optimizer.bad_loss=skip")
    runs = [
        spoiled_run(tmp_path / what, phantom_store, what, {3}, *settings)
        for what in ("loss", "gradient")
    ]
    loss, gradient = (bad_batches(run) for run in runs)
    key = ("step", "study_ids")
    assert [[r[k] for k in key] for r in loss] == [[r[k] for k in key] for r in gradient]
    assert {row["step"] for row in loss} == {"3"}
    found, expected = map(weights, runs)
    assert all(tensor.isfinite().all() for tensor in found.values())
    assert all(tensor.equal(expected[name]) for name, tensor in found.items())
    losses = read_metrics(runs[1].metrics)["train/total_loss"]
    assert sorted(losses) == [0, 1, 2, 4, 5]


def test_a_skipped_batch_changes_the_run(undisturbed, phantom_store, tmp_path):
    run = spoiled_run(tmp_path / "run", phantom_store, "gradient", {3}, "optimizer.bad_loss=skip")
    found = weights(run)
    assert not all(tensor.equal(found[key]) for key, tensor in weights(undisturbed).items())


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_run_that_uses_no_batch_any_more_does_not_go_on_to_its_end(what, phantom_store, tmp_path):
    steps = {1, *range(3, 100)}  # update 2 is a good one
    settings = ("optimizer.bad_loss=skip", "optimizer.length=40", "trainer.checkpoint_steps=50")
    with pytest.raises(TrainingError, match=rf"{BAD_IN_A_ROW} batches in a row.*at update 22"):
        spoiled_run(tmp_path / "run", phantom_store, what, steps, *settings)
    assert len(bad_batches(RunFolder(tmp_path / "run"))) == 1 + BAD_IN_A_ROW


def test_an_exploding_loss_is_bad_too(phantom_store, tmp_path):
    with pytest.raises(TrainingError, match=r"none above optimizer\.largest_loss"):
        run_of(tmp_path / "run", phantom_store, "optimizer.largest_loss=0.001")
