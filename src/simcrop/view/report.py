"""The report of a run: one HTML file that opens from disk and needs nothing else.

Pictures are PNGs inside the file, the style is inline, there is no script and no request
leaves the machine. A report is a list of sections, a section a list of blocks: paragraphs
(plain strings), tables, pictures and folded details. All text is escaped. Nothing is computed
here; figures and tables come from `simcrop.evaluate`.
"""

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from simcrop.data.atomic import atomic_path
from simcrop.evaluate.tables import Table


@dataclass(frozen=True)
class Picture:
    """A figure or PNG bytes, the line under it and, for who cannot see it, what it shows."""

    image: Figure | bytes
    caption: str
    alt: str


@dataclass(frozen=True)
class CaptionedTable:
    """A table and the line above it; a list of texts is set to the left, without a total.

    The last row stands out as the total, unless there is none.
    """

    table: Table
    caption: str
    is_list: bool = False
    has_total: bool = True

    @property
    def style(self) -> str:
        """The classes of the element: many columns are set small, so that none is out of sight."""
        is_wide = len(self.table.header) > 6
        chosen = {"list": self.is_list, "even": not self.has_total, "wide": is_wide}
        return " ".join(name for name, applies in chosen.items() if applies)


@dataclass(frozen=True)
class Details:
    """Text that is folded away under its summary: a configuration, a contract, versions."""

    summary: str
    text: str


@dataclass(frozen=True)
class Card:
    """A key figure at the top of the report, with a note on how to read it."""

    name: str
    value: str
    note: str = ""


Block = str | CaptionedTable | Picture | Details


@dataclass(frozen=True)
class Section:
    """A heading and the blocks under it, in order."""

    heading: str
    blocks: Sequence[Block]


def figure_png(figure: Figure, *, dpi: int = 144) -> bytes:
    """Return a figure as PNG; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def render_report(
    *, title: str, sections: Sequence[Section], subtitle: str = "", cards: Sequence[Card] = ()
) -> str:
    """Return the report as one HTML document."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    kinds = {"paragraph": str, "table": CaptionedTable, "picture": Picture, "details": Details}
    for name, kind in kinds.items():
        environment.tests[name] = lambda block, kind=kind: isinstance(block, kind)
    environment.filters["image"] = _image
    template = environment.get_template("report.html.j2")
    return template.render(title=title, subtitle=subtitle, cards=cards, sections=sections)


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    sections: Sequence[Section],
    subtitle: str = "",
    cards: Sequence[Card] = (),
) -> Path:
    """Write the report and return its path; a reader never finds half a file."""
    path = Path(path)
    html = render_report(title=title, sections=sections, subtitle=subtitle, cards=cards)
    with atomic_path(path) as unfinished:
        unfinished.write_text(html, encoding="utf-8")
    return path


def _image(picture: Picture) -> Markup:
    """Return the img element; a figure is shown at its size in inches, so that fonts agree."""
    image, width = picture.image, ""
    if isinstance(image, Figure):
        width = f' width="{96 * image.get_figwidth():.0f}"'
        image = figure_png(image)
    source = "data:image/png;base64," + base64.b64encode(image).decode("ascii")
    return Markup(f'<img src="{source}" alt="{escape(picture.alt)}"{width}>')
