"""Processes of a pool end with the one that started them, whatever their jobs make of a signal."""

import signal
import subprocess
import sys
import time

from process_group import has_members

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from simcrop.data import executors

executors.SECONDS_TO_LEAVE = 0.2  # in the processes too, which import this file


def work(job):  # leaves in order when told to, as a training does
    told = []
    before = signal.signal(signal.SIGTERM, lambda *_: told.append(True))
    (Path(sys.argv[1]) / f"{job}_{os.getpid()}").touch()
    while not told:
        time.sleep(0.05)
    signal.signal(signal.SIGTERM, before)
    return job


if __name__ == "__main__":
    with executors.open_executor(2) as executor:
        list(executors.run_all(work, range(6), executor))
"""


def test_jobs_that_take_a_signal_do_not_keep_a_pool_alive_without_its_parent(tmp_path):
    script, started = tmp_path / "script.py", tmp_path / "started"
    script.write_text(SCRIPT)
    started.mkdir()
    parent = subprocess.Popen([sys.executable, script, started], start_new_session=True)
    wait_until(lambda: len(list(started.iterdir())) == 2)
    parent.send_signal(signal.SIGKILL)
    assert parent.wait() == -signal.SIGKILL
    wait_until(lambda: not has_members(parent.pid))


def wait_until(condition, seconds=60):
    """Wait until the condition holds, and fail after so long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "still not"
        time.sleep(0.1)
