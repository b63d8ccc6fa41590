"""The installed script, run in this process."""

import sys

import pytest
from command_result import Result

from simcrop.cli.main import main


@pytest.fixture
def simcrop(monkeypatch, capsys):
    """Run the command in this process, as the installed script would."""

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["simcrop", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run
