"""Kill a run at random moments, resume it, and compare with one that nobody disturbed.

    python tests/train/killed_runs.py STORE FOLDER KILLS [SEED]         forked children, fast
    python tests/train/killed_runs.py STORE FOLDER KILLS SEED command   as users type it

Children are forked from this process, which has imported everything and started no thread; what
they do is what `simcrop pretrain` does. Prints one JSON object.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from simcrop.data.store import Store
from simcrop.model.text_encoder import TextEncoder
from simcrop.train import run as run_module
from simcrop.train.checkpoint import load_checkpoint
from simcrop.train.run_folder import RunFolder
from tiny_run import lasting_rows, tiny

SETTINGS = (
    "optimizer.batch_size=3",
    "optimizer.length=12",
    "vision_encoder.depth=1",
    "optimizer.warmup=2",
    "trainer.checkpoint_steps=1",
    "trainer.validation_epochs=1",
    "trainer.diagnostic_studies=2",
    "terms.instance_contrast=true",
    "fusion.dropout=0.1",
    "trainer.precision=32",
)
WORKERS = cycle((2, 0))  # processes that read, of each forked child in turn


def forked(run: RunFolder, store: Store) -> tuple[int, int]:
    """Start or resume a run in a child; return its id and a pipe with a byte per update."""
    workers = next(WORKERS)
    read_end, write_end = os.pipe()
    if pid := os.fork():
        os.close(write_end)
        return pid, read_end
    code = 1
    try:
        run_module.pretrain(
            tiny(*SETTINGS, f"trainer.workers={workers}"),
            store,
            run,
            resume=run.config.exists(),
            on_progress=lambda done, total, what: os.write(write_end, b"."),
        )
        code = 0
    finally:
        os._exit(code)


def command(run: RunFolder, store: Store) -> tuple[int, int]:
    """The same with the installed command; a byte comes when metrics.csv is there."""
    arguments = ["pretrain", "--resume", str(run.folder)]
    if not run.config.exists():
        options = [part for setting in all_settings() for part in ("--set", setting)]
        arguments = ["pretrain", "tiny", "-s", str(store.folder), "-o", str(run.folder), *options]
    program = str(Path(sys.executable).with_name("simcrop"))
    pid = os.posix_spawn(  # not subprocess, which collects a child that ended before it is asked
        program, [program, *arguments], os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                      (os.POSIX_SPAWN_DUP2, 1, 2)],
    )  # fmt: skip
    read_end, write_end = os.pipe()
    began = time.time()
    while not has_ended(pid):  # until this process, and not one before it, has logged
        if run.metrics.exists() and run.metrics.stat().st_mtime > began:
            os.write(write_end, b".")
            break
        time.sleep(0.01)
    os.close(write_end)
    return pid, read_end


def has_ended(pid: int) -> bool:
    """Whether a child has ended; it still waits to be asked for its exit code."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def all_settings() -> list[str]:
    """Every setting of `tiny_run.tiny` and of this file, for the command line."""
    from tiny_run import SHORT

    return [*SHORT, *SETTINGS]


def kill(pid: int, updates: int, wait: float) -> bool:
    """Kill a child some seconds after its first update; return whether that came in time."""
    os.read(updates, 1)
    time.sleep(wait)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    os.close(updates)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "the run ended with an error"
    return False


def same(run: RunFolder, other: RunFolder) -> bool:
    """Whether weights, best weights and logged values are equal to the last bit, and no litter."""
    if [*run.folder.rglob(".tmp-*")]:
        return False
    pairs = [
        (load_checkpoint(run.folder / name), load_checkpoint(other.folder / name))
        for name in ("checkpoint", "best")
    ]
    return lasting_rows(run) == lasting_rows(other) and all(
        mine.step == theirs.step
        and all(
            tensor.equal(theirs.simcrop.state_dict()[name])
            for name, tensor in mine.simcrop.state_dict().items()
        )
        for mine, theirs in pairs
    )


def main(
    store: Store, folder: Path, num_kills: int, seed: int,
    start: Callable[[RunFolder, Store], tuple[int, int]],
) -> dict[str, object]:  # fmt: skip
    """Kill and resume runs until enough were killed and all have ended."""
    encoder = TextEncoder("packaged")
    run_module.TextEncoder = lambda name: encoder
    whole = RunFolder(folder / "whole")
    pid, updates = start(whole, store)
    os.read(updates, 1)
    began = time.monotonic()
    _, status = os.waitpid(pid, 0)
    assert status == 0, "the undisturbed run ended with an error"
    seconds = time.monotonic() - began

    rng, killed_at, verdicts = random.Random(seed), [], []
    while len(killed_at) < num_kills:
        run = RunFolder(folder / f"run_{len(verdicts)}")
        while kill(*start(run, store), wait=rng.uniform(0, seconds / 3)):
            points = run.resume_points()
            killed_at.append(int(points[0].stem.removeprefix("step_")) if points else 0)
        verdicts.append(same(run, whole))
    return {"killed_after_updates": killed_at, "runs_equal": verdicts}


if __name__ == "__main__":
    place, output, kills, *rest = sys.argv[1:]
    way = command if rest[1:] == ["command"] else forked
    found = main(Store(place), Path(output), int(kills), int(rest[0] if rest else 0), way)
    print(json.dumps(found))
