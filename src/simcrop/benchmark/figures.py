"""The benchmark's pictures: how variants compare, what labels save, where sentences look."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simcrop.benchmark.cell import Cell
from simcrop.benchmark.claims import OURS
from simcrop.benchmark.label_figure import label_efficiency
from simcrop.benchmark.summary import Summary
from simcrop.benchmark.variants import VARIANTS
from simcrop.data.store import Store
from simcrop.demo import draw_pictures
from simcrop.evaluate.figures import COLORS, GREY, new_figure, tidy
from simcrop.evaluate.intervals import Interval
from simcrop.evaluate.results import Drawing
from simcrop.train.pretrained import load
from simcrop.train.run_folder import RunFolder


@dataclass(frozen=True)
class _Panel:
    """A measure with its title, axis and what it is held against: names of vertical lines."""

    measure: str
    title: str
    axis: str
    # the measure of the first of some variants that has it, or a number
    levels: Mapping[str, tuple[tuple[str, ...], str] | float]


_CEILINGS = {"same network,\nall labels": (("supervised",), "probe_100"),
             "CNN,\nall labels": (("cnn",), "probe_100")}  # fmt: skip
_PANELS = (
    _Panel("probe_1", "linear probe, 1 % of the labels", "mean AUROC over findings",
           {"chance": 0.5} | _CEILINGS),
    _Panel("zero_shot", "zero-shot, no labels", "mean AUROC over findings",
           {"chance": 0.5} | _CEILINGS),
    _Panel("hit", "hit: best patch on the finding", "share of sentences",
           {"chance": (tuple(OURS), "chance"), "position\nalone": (tuple(OURS), "hit position")}),
)  # fmt: skip
# suffix of the measure, marker, colour, what it is
_MARKS = (
    ("", "o", COLORS[0], "mean of patches; zero-shot; own volume"),
    (" max", "D", COLORS[2], "largest value over patches"),
    (" swapped", "o", COLORS[1], "same sentence, another patient's volume"),
)


def draw(summary: Summary, cells: Sequence[Cell], store: Store) -> dict[str, Drawing]:
    """Return the pictures for which there are cells."""
    figures = summary.figures()
    drawings = {
        "variants": Drawing(
            variant_dots(figures),
            "Means over seeds with 95 % intervals over patients and seeds. Dotted: chance; dashed: "
            "what the labels of all training patients teach without pre-training, and where "
            "training masks of a finding lie, without looking at the volume.",
        ),
        "labels": Drawing(
            label_efficiency(figures),
            "Linear probe on a share of the labelled training patients, with 95 % intervals over "
            "patients and seeds; dashed: networks trained on all labels.",
        ),
    }
    best = (c for c in cells if c.is_done and c.variant.name == summary.best)
    shown = [c for c in best if RunFolder(c.folder).checkpoint.exists()]
    if shown:
        drawings |= _examples(shown[0], store)
    return drawings


def variant_dots(figures: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Draw a panel per measure, a row per variant: means and intervals over lines of reference."""
    measures = {panel.measure for panel in _PANELS}
    names = [name for name, of in figures.items() if of.keys() & measures]
    figure = new_figure(10.8, 1.9 + 0.36 * len(names))
    grid = figure.subplots(1, len(_PANELS), sharey=True, squeeze=False)[0]
    for axes, panel in zip(grid, _PANELS, strict=True):
        for row, name in enumerate(names):
            _draw_row(axes, row, panel.measure, figures[name])
        _draw_levels(axes, panel, figures)
        axes.set_title(panel.title, fontsize=9.5, pad=30)
        axes.set_xlabel(f"{panel.axis}, 95 % intervals", fontsize=9)
        tidy(axes)
    rows = ["\n".join(textwrap.wrap(VARIANTS[name].says, 36)) for name in names]
    grid[0].set_yticks(range(len(names)), rows)
    grid[0].set_ylim(len(names) - 0.5, -0.5)
    handles = [
        Line2D([], [], linestyle="", label=says, **_style(marker, color, suffix))
        for suffix, marker, color, says in _MARKS
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _draw_row(axes: Axes, row: int, measure: str, figures: Mapping[str, Interval]) -> None:
    """Draw a variant's figure, and beside it its control or that of largest values."""
    shown = [mark for mark in _MARKS if f"{measure}{mark[0]}" in figures]
    for number, (suffix, marker, color, _) in enumerate(shown):
        one, y = figures[f"{measure}{suffix}"], row + 0.3 * (number - (len(shown) - 1) / 2)
        axes.hlines(y, one.low, one.high, color=color, linewidth=2, alpha=0.5)
        axes.plot(one.value, y, **_style(marker, color, suffix))


def _style(marker: str, color: str, suffix: str) -> dict[str, Any]:
    """Return how a mark is drawn; a control is hollow."""
    face = "white" if suffix == " swapped" else color
    return {"marker": marker, "color": color, "markerfacecolor": face, "markersize": 5}


def _draw_levels(axes: Axes, panel: _Panel, figures: Mapping[str, Mapping[str, Interval]]) -> None:
    """Draw the panel's lines of reference that are known, named above it."""
    for name, level in panel.levels.items():
        if isinstance(level, tuple):
            names, measure = level
            known = [figures[name][measure] for name in names if measure in figures.get(name, ())]
            if not known:
                continue
            level = known[0].value
        axes.axvline(level, color=GREY, linewidth=1, linestyle=":" if name == "chance" else "--")
        axes.annotate(
            name, (level, 1), xytext=(0, 3), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", va="bottom", fontsize=8, color=GREY,
        )  # fmt: skip


def _examples(cell: Cell, store: Store) -> dict[str, Drawing]:
    """Return the first held-out sentence of every finding, good or bad."""
    pictures = draw_pictures(load(cell.folder), store, cell.folder / "maps")
    return {
        f"example_{one.label.lower().replace(' ', '_')}": Drawing(
            one.figure, f"{one.label}: {one.sentence} The outline is the true mask."
        )
        for one in pictures
    }
