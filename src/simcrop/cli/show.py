"""`simcrop show`: what a run has come to."""

from pathlib import Path
from typing import Annotated

import typer


def show(
    run: Annotated[Path, typer.Argument(help="Folder of a run of `simcrop pretrain`.")],
    html: Annotated[
        bool, typer.Option("--html", help="Write RUN/report.html with all curves as well.")
    ] = False,
    open_page: Annotated[
        bool, typer.Option("--open", help="Write it and open it in the browser.")
    ] = False,
) -> None:
    """Print where a run stands: losses, validation, speed, what was skipped, what to do next."""
    from simcrop.train.run_summary import summarise

    summary = summarise(run)
    for table in (summary.facts(), summary.places()):
        print("".join(f"{name:<20}{text}\n" for name, text in table.rows))
    for table in (summary.losses(), summary.diagnostics()):
        if table.rows:
            print(table.plain())
    print("next: " + "\n      ".join(summary.run.next_commands()[1:]))
    if html or open_page:
        from simcrop.view.run_report import write_run_report

        page = write_run_report(run / "report.html", summary)
        print(page)
        if open_page:
            typer.launch(page.absolute().as_uri())
