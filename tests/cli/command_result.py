"""What a command gave back, and what a refusal looks like."""

from pathlib import Path


class Result:
    """What a command gave back."""

    def __init__(self, code: int, stdout: str, stderr: str) -> None:
        self.code, self.stdout, self.stderr = code, stdout, stderr
        self.paths = [Path(line) for line in stdout.splitlines()]


def assert_refused(result: Result, code: int, message: str) -> None:
    assert result.code == code
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
