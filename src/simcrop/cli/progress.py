"""Progress on stderr: a bar on a terminal, elsewhere a line every few seconds.

Both say how much time is left.
"""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress() -> Generator[Callable[[int, int, str], None]]:
    """Yield a callback that takes (done, total, what); a new `what` starts a new count."""
    if sys.stderr.isatty():
        with _bar() as update:
            yield update
    else:
        yield _Lines()


class _Lines:
    """Plain lines, for log files."""

    def __init__(self) -> None:
        self.what = ""
        self.started = self.printed = self.first = 0.0

    def __call__(self, done: int, total: int, what: str) -> None:
        """Print a line if it is time for one."""
        now = time.monotonic()
        name = what.partition(",")[0]
        if name != self.what:
            self.what, self.started, self.first, self.printed = name, now, done, 0.0
        if done < total and now - self.printed < SECONDS_BETWEEN_LINES:
            return
        self.printed = now
        print(f"{what}: {done:,} of {total:,}{self._left(done, total, now)}", file=sys.stderr)

    def _left(self, done: int, total: int, now: float) -> str:
        if done >= total or done <= self.first:
            return ""
        seconds = (now - self.started) / (done - self.first) * (total - done)
        return f", {duration(seconds)} left"


def duration(seconds: float) -> str:
    """Return a time in the two units that matter: `3 d 4 h`, `2 h 5 min`, `40 s`."""
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if seconds >= size:
            return f"{seconds // size:.0f} {unit} {seconds % size // part:.0f} {smaller}"
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


@contextmanager
def _bar() -> Generator[Callable[[int, int, str], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def update(done: int, total: int, what: str) -> None:
            name = what.partition(",")[0]
            if name not in tasks:
                tasks[name] = bar.add_task(what, total=total)
            bar.update(tasks[name], completed=done, total=total, description=what)

        yield update
