"""The page of a result folder: `report.html`, the same for every command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from simcrop.evaluate.results import Result
from simcrop.view.report import (
    Block,
    CaptionedTable,
    Card,
    Details,
    Picture,
    Section,
    write_report,
)


def write_result_page(
    result: Result, folder: Path, *, title: str, cards: tuple[Card, ...] = ()
) -> Path:
    """Write tables, pictures and provenance of a result as one page and return its path."""
    sets = ", ".join(f"{name} {one.hash} ({one.size:,})" for name, one in result.sets.items())
    note = f"{result.note.upper()}. " if result.note else ""
    sections = [
        Section("Figures", [*_note(result), *_tables(result)]),
        Section("Pictures", _pictures(result)),
        Section("Where this comes from", [f"Sets by hash: {sets}.", *_details(result)]),
    ]
    return write_report(
        folder / "report.html",
        title=title,
        subtitle=f"{note}simcrop {result.command}, contract {result.contract_hash}",
        cards=cards,
        sections=[section for section in sections if section.blocks],
    )


def _note(result: Result) -> list[Block]:
    return [f"Read with care: {result.note}."] if result.note else []


def _tables(result: Result) -> list[Block]:
    """Return the tables; what a caption says beyond its first sentence stands above the table.

    A caption scrolls with a wide table, so a long one could not be read.
    """
    blocks: list[Block] = []
    for caption, table in result.tables.items():
        title, has_more, rest = caption.partition(". ")
        blocks += [rest] if has_more else []
        has_total = bool(table.rows) and table.rows[-1][0] == "mean"
        blocks.append(
            CaptionedTable(table, f"{title}." if has_more else caption, has_total=has_total)
        )
    return blocks


def _pictures(result: Result) -> list[Block]:
    return [
        Picture(drawing.figure, drawing.caption, drawing.caption)
        for drawing in result.drawings.values()
    ]


def _details(result: Result) -> list[Block]:
    parts: dict[str, Mapping[str, Any]] = {
        "settings": {**result.settings, "seeds": list(result.seeds)},
        "versions": result.versions,
    }
    return [
        Details(name, yaml.safe_dump(_plain(values), sort_keys=False))
        for name, values in parts.items()
    ]


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}
