"""CPU time of a cell adds up over sittings, and an error loses none of it."""

import time
from pathlib import Path

import pytest

from simcrop.benchmark.costs import COSTS_FILE, Costs


def spend(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def stopped_sitting(folder: Path) -> None:
    with Costs(folder).of("train"):
        spend(0.3)
        raise KeyboardInterrupt


def test_sittings_add_up_also_where_one_ends_in_an_error(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        stopped_sitting(tmp_path)
    costs = Costs(tmp_path)
    with costs.of("train"):
        spend(0.3)
    with costs.of("evaluate"):
        spend(0.1)
    assert costs.seconds["train"] == pytest.approx(0.6, abs=0.15)
    assert Costs(tmp_path).seconds == costs.seconds
    assert [path.name for path in tmp_path.iterdir()] == [COSTS_FILE]
