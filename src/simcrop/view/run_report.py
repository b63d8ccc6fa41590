"""The page of one run: where it stands, its curves, its settings."""

from pathlib import Path

import yaml

from simcrop.evaluate.tables import Table
from simcrop.train.run_summary import LOSSES, RunSummary
from simcrop.view.report import (
    Block,
    CaptionedTable,
    Card,
    Details,
    Picture,
    Section,
    write_report,
)

MOST_ROWS = 50  # of a table of studies; the file has all


def write_run_report(path: Path, summary: RunSummary) -> Path:
    """Write the page and return its path."""
    return write_report(
        path,
        title=f"Pre-training run {summary.run.folder.absolute().name}",
        subtitle=f"{summary.config.name}, {summary.state}",
        cards=_cards(summary),
        sections=[
            Section("Where it stands", _stand(summary)),
            Section("Losses", _losses(summary)),
            Section("Does it look at the volume?", _diagnostics(summary)),
            Section("Learning rate and speed", _speed(summary)),
            *_faults(summary),
            Section("Settings", _settings(summary)),
        ],
    )


def _cards(summary: RunSummary) -> list[Card]:
    cards = [Card("updates", f"{summary.updates:,}", summary.state)]
    for row in summary.losses().rows:
        if row[0].endswith("/total_loss"):
            name, first, last, lowest, step = row
            cards.append(Card(name, last, f"first {first}, lowest {lowest} at step {step}"))
    speed, waiting = (
        summary.median("time/studies_per_second"),
        summary.median("time/waiting_share"),
    )
    if speed is not None and waiting is not None:
        cards.append(Card("studies per second", f"{speed:.3g}", f"{waiting:.0%} waiting for data"))
    return cards


def _stand(summary: RunSummary) -> list[Block]:
    commands = Table(("", "command"), tuple(_numbered(summary.run.next_commands())))
    return [
        CaptionedTable(summary.facts(), "The run.", is_list=True),
        CaptionedTable(summary.places(), "Where things lie.", is_list=True),
        CaptionedTable(commands, "What to type next.", is_list=True),
    ]


def _numbered(lines: tuple[str, ...]) -> list[tuple[str, str]]:
    return [(str(number), line) for number, line in enumerate(lines, 1)]


def _losses(summary: RunSummary) -> list[Block]:
    blocks: list[Block] = [
        "Each term on its own, and their weighted sum. A falling alignment loss is no evidence "
        "that sentences find their findings; the next section asks for that.",
        *_picture(summary, "Losses in training and validation.", *LOSSES),
    ]
    if summary.losses().rows:
        blocks.append(CaptionedTable(summary.losses(), "The same as a table."))
    return blocks


def _diagnostics(summary: RunSummary) -> list[Block]:
    table = summary.diagnostics()
    if not table.rows:
        return ["No validation has measured it yet."]
    return [
        "On a fixed sample of validation studies: own_volume is the share of other volumes that "
        "fit a sentence less than its own (chance 0.5), for sentences of normal and of abnormal "
        "content; air_share the share of air among the selected patches; words_ the share of "
        "hidden words named rightly with the true, another's and no volume; gradient_ the norm of "
        "a term's gradient at the vision encoder.",
        *_picture(summary, "Diagnostics and gradient norms.", *(row[0] for row in table.rows)),
        CaptionedTable(table, "The same as a table."),
    ]


def _speed(summary: RunSummary) -> list[Block]:
    caption = "Learning rate; studies of all processes per second; time that waits for data."
    return _picture(summary, caption, "train/lr", "time/") or ["Nothing logged yet."]


def _picture(summary: RunSummary, caption: str, *kinds: str) -> list[Block]:
    figure = summary.curves(*kinds)
    return [] if figure is None else [Picture(figure, caption, f"Curves: {caption}")]


def _faults(summary: RunSummary) -> list[Section]:
    blocks: list[Block] = []
    for rows, caption in (
        (summary.skipped, "Studies that could not be read; others took their place."),
        (summary.bad_batches, "Batches whose loss or gradient was not usable."),
    ):
        if len(rows):
            cells = tuple(tuple(map(str, row)) for row in rows.head(MOST_ROWS).to_numpy())
            table = Table(tuple(map(str, rows.columns)), cells)
            note = f" The first {MOST_ROWS} of {len(rows):,}." if len(rows) > MOST_ROWS else ""
            blocks.append(CaptionedTable(table, caption + note, is_list=True))
    return [Section("What was passed over", blocks)] if blocks else []


def _settings(summary: RunSummary) -> list[Block]:
    config = summary.config.model_dump(mode="json")
    return [
        Details("configuration", yaml.safe_dump(config, sort_keys=False)),
        Details("versions, commit, store", yaml.safe_dump(summary.described, sort_keys=False)),
    ]
