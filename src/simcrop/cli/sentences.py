"""`simcrop sentences`: how reports are split."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from simcrop.report.sections import Report


def sentences(
    file: Annotated[Path, typer.Argument(help="A text file, or a table such as reports.csv.")],
    column: Annotated[
        str | None, typer.Option(help="Of a table: the column with whole reports.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per report.")] = False,
) -> None:
    """Show the sections and sentences of reports, as training and search see them.

    A table is read by its columns findings and impression, or by one column of whole reports.
    """
    from simcrop.report.sentences import split_sentences

    num_reports = num_sentences = 0
    for name, report in _reports(file, column):
        split = {
            "findings": list(report.sentences) or split_sentences(report.findings),
            "impression": split_sentences(report.impression),
        }
        num_reports += 1
        num_sentences += sum(map(len, split.values()))
        if as_json:
            print(json.dumps({"report": name, **split}, ensure_ascii=False))
            continue
        print(f"# {name}")
        for section, texts in split.items():
            if texts:
                print(f"{section}:")
            print(*(f"{number:4d}  {text}" for number, text in enumerate(texts, 1)), sep="\n")
    typer.echo(f"{num_sentences} sentences in {num_reports} reports", err=True)


def _reports(file: Path, column: str | None) -> "Iterator[tuple[str, Report]]":
    """Yield the name and the report of every row of a table, or of a text file."""
    from simcrop.data.archive import read_table
    from simcrop.errors import DataError, complain
    from simcrop.report.sections import make_report, split_sections

    if file.suffix.lower() != ".csv":
        try:
            yield file.name, split_sections(file.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise DataError(
                complain(f"{file}: not UTF-8 text", "a UTF-8 text file", "Save it as UTF-8."),
                "wrong_encoding",
            ) from error
        return
    table = read_table(file, ["findings", "impression"] if column is None else [column])
    for number, row in enumerate(table.to_dict("records"), start=1):
        name = str(row.get("study_id") or row.get("id") or f"row {number}")
        if column is not None:
            yield name, split_sections(row[column])
        else:
            yield name, make_report(row["findings"], row["impression"], row.get("sentences", ""))
