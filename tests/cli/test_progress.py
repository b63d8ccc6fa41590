import sys

import pytest

from simcrop.cli import progress as module
from simcrop.cli.progress import duration, progress


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test moves by hand."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_every_few_seconds_and_at_the_end(capsys, clock):
    with progress() as update:
        for done in range(1, 101):
            update(done, 100, "encode")
            clock[0] += 1
    lines = capsys.readouterr().err.splitlines()
    assert 9 <= len(lines) <= 12
    assert lines[-1] == "encode: 100 of 100"
    assert lines[1].startswith("encode: 11 of 100, 89 s left")


def test_a_new_task_starts_a_new_count_but_a_changed_loss_does_not(capsys, clock):
    with progress() as update:
        update(1, 10, "pre-train, loss 9.0")
        clock[0] += 2
        update(2, 10, "pre-train, loss 8.0")
        update(1, 4, "embed")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["pre-train, loss 9.0: 1 of 10", "embed: 1 of 4"]


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress() as update:
        update(1, 2, "encode")
        update(2, 2, "encode, loss 1.0")
        update(1, 1, "embed")
    text = capsys.readouterr().err
    assert "encode" in text
    assert "2/2" in text


def test_nothing_of_it_reaches_stdout(capsys):
    with progress() as update:
        update(1, 1, "encode")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (40.0, "40 s"),
        (119.0, "119 s"),
        (125.0, "2 min"),
        (7500.0, "2 h 5 min"),
        (273_600.0, "3 d 4 h"),
    ],
)
def test_what_is_left_is_told_in_the_units_that_matter(seconds, text):
    assert duration(seconds) == text
