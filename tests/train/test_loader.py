"""Signals that a cluster sends to a whole group of processes, readers of volumes among them."""

import os
import signal
import sys
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch
from forked import CONTEXT, start_process
from torch.utils.data import Dataset

from process_group import has_members
from simcrop.data.store import Store
from simcrop.train.checkpoint import load_checkpoint
from simcrop.train.datamodule import PretrainingData
from simcrop.train.loader import STOP_SIGNALS, Loader
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder
from simcrop.train.signals import Stopped
from tiny_run import tiny

FEW = (
    "optimizer.batch_size=3",
    "optimizer.length=40",
    "optimizer.warmup=1",
    "trainer.checkpoint_steps=100",
    "trainer.diagnostic_studies=0",
    "trainer.keep_in_memory=false",
    "terms.masked_report=false",
    "terms.alignment=false",
)
GRACE_SECONDS = 30.0  # as torchrun gives by itself; two or three suffice on a quiet machine


class Heard(Dataset):
    """What the process that reads does with each signal, and which it holds back."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> tuple:
        return [signal.getsignal(n) for n in STOP_SIGNALS], signal.pthread_sigmask(0, ())


def first(loader: Loader) -> tuple:
    return next(iter(loader))[0]


def test_readers_ignore_the_signals_and_the_training_process_does_not():
    before = [signal.getsignal(n) for n in STOP_SIGNALS]
    handlers, held_back = first(Loader(Heard(), num_workers=1, collate_fn=list))
    assert handlers == [signal.SIG_IGN] * len(STOP_SIGNALS)
    assert not held_back
    assert [signal.getsignal(n) for n in STOP_SIGNALS] == before
    assert not signal.pthread_sigmask(0, ())


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_while_a_reader_starts_does_not_end_it(number, monkeypatch):
    right = torch.set_num_threads

    def killed(threads: int) -> None:  # torch calls it after setting its handlers, before ours
        os.kill(os.getpid(), number)
        right(threads)

    monkeypatch.setattr(torch, "set_num_threads", killed)
    handlers, _ = first(Loader(Heard(), num_workers=1, collate_fn=list))
    assert handlers == [signal.SIG_IGN] * len(STOP_SIGNALS)


def test_a_signal_before_the_first_batch_is_noted(phantom_store, tmp_path, monkeypatch):
    right = PretrainingData.train_dataloader

    def killed(data: PretrainingData) -> Loader:
        os.kill(os.getpid(), signal.SIGTERM)
        return right(data)

    monkeypatch.setattr(PretrainingData, "train_dataloader", killed)
    with pytest.raises(Stopped, match="stopped by SIGTERM after 1 updates"):
        pretrain(tiny(*FEW, "trainer.workers=1"), phantom_store, RunFolder(tmp_path / "run"))


def group_leader(folder: Path, store: Path, has_begun: Event) -> None:
    """Pre-train with two readers as the first of a group; end as the command does."""
    os.setsid()
    torch.set_num_threads(1)
    try:
        pretrain(
            tiny(*FEW, "trainer.workers=2"),
            Store(store),
            RunFolder(folder),
            on_progress=lambda done, total, what: done == 2 and has_begun.set(),
        )
    except Stopped:
        sys.exit(1)


@pytest.fixture(scope="module")
def undisturbed(phantom_store, tmp_path_factory) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("undisturbed") / "run")
    pretrain(tiny(*FEW), phantom_store, run)
    return run


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_group_that_is_told_to_stop_leaves_a_resume_point(
    number, undisturbed, phantom_store, tmp_path
):
    """First the process and then its group, itself included, as `timeout` does it."""
    run, has_begun = RunFolder(tmp_path / "run"), CONTEXT.Event()
    leader = start_process(group_leader, run.folder, phantom_store.folder, has_begun)
    assert has_begun.wait(timeout=120)
    began = time.monotonic()
    os.kill(leader.pid, number)
    os.killpg(leader.pid, number)
    leader.join(GRACE_SECONDS)
    assert leader.exitcode == 1
    while has_members(leader.pid) and time.monotonic() - began < GRACE_SECONDS:
        time.sleep(0.1)
    assert not has_members(leader.pid)
    assert 2 <= torch.load(run.resume_points()[0], weights_only=True)["global_step"] < 40

    pretrain(tiny(*FEW, "trainer.workers=2"), phantom_store, run, resume=True)
    mine, theirs = (load_checkpoint(r.folder).simcrop.state_dict() for r in (run, undisturbed))
    assert all(tensor.equal(theirs[name]) for name, tensor in mine.items())
