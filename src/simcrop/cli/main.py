"""The `simcrop` command: a table of commands, and one place where errors become exit codes.

0 done, 1 failed on data or run, 2 wrong usage. Result paths go to stdout, everything else to
stderr. Nothing heavy is imported before a command runs, so that `--help` answers at once.
"""

import sys
from typing import Annotated

import typer

from simcrop._version import __version__
from simcrop.cli.benchmark import benchmark
from simcrop.cli.check import check
from simcrop.cli.compare import compare
from simcrop.cli.convert import convert
from simcrop.cli.demo import demo
from simcrop.cli.embed import embed
from simcrop.cli.finetune import finetune
from simcrop.cli.ground import ground
from simcrop.cli.ground_eval import ground_eval
from simcrop.cli.phantom import phantom
from simcrop.cli.plan import plan
from simcrop.cli.prepare import prepare
from simcrop.cli.pretrain import pretrain
from simcrop.cli.probe import probe
from simcrop.cli.recipe import recipe
from simcrop.cli.retrieve import retrieve
from simcrop.cli.search import search
from simcrop.cli.segment import segment
from simcrop.cli.sentences import sentences
from simcrop.cli.show import show
from simcrop.cli.zero_shot import zero_shot
from simcrop.errors import SimCroPError

app = typer.Typer(
    help="Similarity-driven cross-granularity pre-training of chest CT and radiology reports.",
    epilog="Cite: SimCroP, arXiv 2509.08311, MICCAI 2025.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for command in (
    phantom,
    check,
    sentences,
    prepare,
    plan,
    pretrain,
    show,
    convert,
    embed,
    probe,
    finetune,
    compare,
    ground,
    ground_eval,
    zero_shot,
    retrieve,
    search,
    recipe,
    demo,
    benchmark,
):
    app.command()(command)
app.add_typer(segment, name="segment")


def _show_version(wanted: bool) -> bool:
    if wanted:
        print(__version__)
        raise typer.Exit
    return wanted


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None: ...


def main() -> None:
    """Run the command line; a user's mistake ends in one clear line, not in a traceback."""
    try:
        app()
    except (SimCroPError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except SystemExit as end:
        if end.code == 130:  # what typer makes of Ctrl-C
            print("stopped; finished work is kept", file=sys.stderr)
        raise
