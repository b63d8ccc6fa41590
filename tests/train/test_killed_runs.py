"""SIGKILL at random moments: what a cluster, a tired machine or a full memory does to a job."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NUM_KILLS = 20


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_runs_killed_at_random_moments_end_as_if_nobody_had_disturbed_them(phantom_store, tmp_path):
    """Weights, best weights and logged values are equal to the last bit; see `killed_runs.py`."""
    script = Path(__file__).with_name("killed_runs.py")
    done = subprocess.run(
        [sys.executable, str(script), str(phantom_store.folder), str(tmp_path), str(NUM_KILLS)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["killed_after_updates"]) >= NUM_KILLS
    assert len(set(found["killed_after_updates"])) > NUM_KILLS // 4  # at different moments
    assert all(found["runs_equal"]), found
