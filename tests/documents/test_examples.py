"""Every example runs as it is, and is short enough to be read."""

import runpy

import pytest
from pages import REPOSITORY, name_of

EXAMPLES = sorted((REPOSITORY / "examples").glob("[0-9]*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_the_example_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_the_example_is_short_and_starts_with_its_purpose(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 80
    assert lines[0].startswith('"""')


def test_there_are_examples():
    assert len(EXAMPLES) >= 4
