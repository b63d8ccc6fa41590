"""The table of equations names functions and tests that exist."""

import re
from importlib import import_module
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/explanation/equations.md").read_text()
FUNCTIONS = re.findall(r"(`\w[^|]*`) \(`([\w/]+)\.py`\)", PAGE)
TESTS = re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE)


@pytest.mark.parametrize(("names", "module"), FUNCTIONS)
def test_every_function_of_the_table_exists(names, module):
    for dotted in re.findall(r"`([\w.]+)`", names):
        found = import_module("simcrop." + module.replace("/", "."))
        for name in dotted.split("."):
            found = getattr(found, name)


@pytest.mark.parametrize(("path", "name"), TESTS)
def test_every_test_of_the_table_exists(path, name):
    assert f"def {name}(" in (REPOSITORY / "tests" / path).read_text()


def test_every_row_names_a_function_and_a_test():
    rows = [
        line for line in PAGE.splitlines() if line.startswith("| ") and "equation |" not in line
    ]
    assert len(rows) == len(FUNCTIONS) == len(TESTS) > 20
