"""Start the processes of a run as torchrun and SLURM do."""

import os
import signal
import socket
from collections.abc import Container

import pytest
import torch
from forked import run_processes
from lightning.pytorch.utilities import rank_zero_only

from simcrop.data.samples import Batch
from simcrop.data.store import Store
from simcrop.train.pretrain import Pretraining
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder
from simcrop.train.signals import Stopped
from tiny_run import tiny


def torchrun(rank: int, ranks: int) -> dict[str, object]:
    """What torchrun tells a process of one machine."""
    return {
        "TORCHELASTIC_RUN_ID": "test",
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": ranks,
        "LOCAL_WORLD_SIZE": ranks,
    }


def slurm(rank: int, ranks: int) -> dict[str, object]:
    """What srun tells a process of one machine."""
    return {
        "SLURM_JOB_NAME": "test",
        "SLURM_JOB_ID": 1,
        "SLURM_NTASKS": ranks,
        "SLURM_NTASKS_PER_NODE": ranks,
        "SLURM_STEP_NUM_TASKS": ranks,
        "SLURM_PROCID": rank,
        "SLURM_LOCALID": rank,
        "SLURM_NODEID": 0,
    }


STARTERS = {"torchrun": torchrun, "slurm": slurm}


def work(starter: str, rank: int, ranks: int, port: int, runs: list[dict]) -> None:
    """One process: its runs one after the other."""
    told = {**STARTERS[starter](rank, ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in told.items()})
    rank_zero_only.rank = rank  # which Lightning reads from the variables when it is imported
    for run in runs:
        go(run, chosen=rank == ranks - 1)


def go(run: dict, *, chosen: bool) -> None:
    """Make a run, of which one chosen process knows more than the others.

    With `nan_at` and `spoils` its loss, or the gradient alone, is nan there; with `kill_at` it is
    gone there; with `stop_at` it is told to end there, and all resume.
    """
    config, store, folder = tiny(*run["settings"]), Store(run["store"]), RunFolder(run["folder"])
    with pytest.MonkeyPatch.context() as patch:
        if chosen and "nan_at" in run:
            spoil(patch, run["spoils"], {run["nan_at"]})
        for name, number in {"stop_at": signal.SIGTERM, "kill_at": signal.SIGKILL}.items():
            if chosen and name in run:
                signal_at(patch, run[name], number)
        if "stop_at" not in run:
            pretrain(config, store, folder, resume=folder.config.exists())
            return
        with pytest.raises(Stopped):
            pretrain(config, store, folder)
    pretrain(config, store, folder, resume=True)


def signal_at(patch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Send this process a signal at the begin of an update."""
    right = Pretraining.training_step

    def signalled(module: Pretraining, batch: Batch, batch_idx: int) -> torch.Tensor:
        if module.global_step == step:
            os.kill(os.getpid(), number)
        return right(module, batch, batch_idx)

    patch.setattr(Pretraining, "training_step", signalled)


class NanGradient(torch.autograd.Function):
    """A value as it is, whose gradient is nan."""

    @staticmethod
    def forward(ctx, value: torch.Tensor) -> torch.Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * torch.nan


SPOILERS = {"loss": lambda value: value * torch.nan, "gradient": NanGradient.apply}


def spoil(patch: pytest.MonkeyPatch, what: str, steps: Container[int]) -> None:
    """Make one loss of some updates nan, or its gradient alone."""
    right = Pretraining.losses

    def spoiled(module: Pretraining, *args, **kwargs) -> dict[str, torch.Tensor]:
        losses = right(module, *args, **kwargs)
        if module.training and module.global_step in steps:
            losses["patch_loss"] = SPOILERS[what](losses["patch_loss"])
        return losses

    patch.setattr(Pretraining, "losses", spoiled)


def launch(starter: str, ranks: int, runs: list[dict]) -> list[int | None]:
    """Run in that many processes; return their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return run_processes(work, [(starter, rank, ranks, port, runs) for rank in range(ranks)])
