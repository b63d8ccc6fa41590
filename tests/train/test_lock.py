import subprocess
import sys

import pytest

from simcrop.train.lock import only_here

fcntl = pytest.importorskip("fcntl")


def enter_elsewhere(folder) -> str:
    """Try to enter from another process; return what it was told."""
    code = (
        "import sys; from pathlib import Path; from simcrop.train.lock import only_here\n"
        "try:\n    with only_here(Path(sys.argv[1])): print('entered')\n"
        "except Exception as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_a_second_process_is_kept_out_until_the_first_leaves(tmp_path):
    with only_here(tmp_path):
        assert enter_elsewhere(tmp_path).startswith(f"another process trains in {tmp_path}")
    assert enter_elsewhere(tmp_path) == "entered"


def test_a_file_system_without_locks_guards_nothing(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    with only_here(tmp_path):
        pass
