"""The benchmark's pictures: how variants compare, what labels save, where sentences look."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from simcrop.benchmark.cell import Cell
from simcrop.benchmark.columns import CLASSIFICATION
from simcrop.benchmark.summary import Summary
from simcrop.benchmark.variants import VARIANTS
from simcrop.data.store import Store
from simcrop.demo import draw_pictures
from simcrop.evaluate.figures import COLORS, GREY, LINE_STYLES, new_figure
from simcrop.evaluate.intervals import Interval
from simcrop.evaluate.results import Drawing
from simcrop.train.pretrained import load
from simcrop.train.run_folder import RunFolder

# measure, its level without any knowledge
_PANELS = {"probe_1": 0.5, "zero_shot": 0.5, "hit": None}
_SHARES = {"probe_1": 1, "probe_10": 10, "probe_100": 100}


def draw(summary: Summary, cells: Sequence[Cell], store: Store) -> dict[str, Drawing]:
    """Return the pictures for which there are cells."""
    figures = summary.figures()
    drawings = {
        "variants": Drawing(
            variant_dots(figures),
            "Means over seeds with 95 % intervals over patients and seeds. Dotted: chance; "
            "diamonds: from the largest value over patches; hollow: the sentence on another "
            "patient's volume.",
        ),
        "labels": Drawing(
            label_efficiency(figures), "Linear probe on a share of the labelled training patients."
        ),
    }
    recommended = (c for c in cells if c.is_done and c.variant.name == "recommended")
    shown = [c for c in recommended if RunFolder(c.folder).checkpoint.exists()]
    if shown:
        drawings |= _examples(shown[0], store)
    return drawings


def variant_dots(figures: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Draw a panel per measure, a row per variant: mean and interval."""
    names = [name for name, of in figures.items() if of.keys() & _PANELS.keys()]
    figure = new_figure(10.5, 1.1 + 0.3 * len(names))
    panels = figure.subplots(1, len(_PANELS), sharey=True, squeeze=False)[0]
    for axes, (measure, chance) in zip(panels, _PANELS.items(), strict=True):
        shown = [(row, figures[n][measure]) for row, n in enumerate(names) if measure in figures[n]]
        for row, one in shown:
            axes.hlines(row, one.low, one.high, color=COLORS[0], linewidth=2, alpha=0.55)
            axes.plot(one.value, row, "o", color=COLORS[0], markersize=5)
            control = figures[names[row]].get(f"{measure} swapped")
            if control is not None:
                axes.plot(control.value, row, "o", markerfacecolor="white", color=COLORS[1])
            largest = figures[names[row]].get(f"{measure} max")
            if largest is not None:
                axes.hlines(row, largest.low, largest.high, color=COLORS[2], linewidth=2, alpha=0.4)
                axes.plot(largest.value, row, "D", color=COLORS[2], markersize=4)
        if chance is not None:
            axes.axvline(chance, color=GREY, linewidth=1, linestyle=":")
        axes.set_title((CLASSIFICATION | {"hit": "hit"})[measure], fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.2)
        axes.tick_params(labelsize=8)
    panels[0].set_yticks(range(len(names)), [VARIANTS[name].says for name in names])
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    return figure


def label_efficiency(figures: Mapping[str, Mapping[str, Interval]]) -> Figure:
    """Draw the probe's AUROC over the share of labelled patients, a line per variant."""
    figure = new_figure(7.5, 4.6)
    axes = figure.subplots()
    for number, (name, measures) in enumerate(figures.items()):
        points = [(share, measures[m].value) for m, share in _SHARES.items() if m in measures]
        axes.plot(
            *np.array(points).T,
            marker="o",
            markersize=4,
            color=COLORS[number % len(COLORS)],
            linestyle=LINE_STYLES[number // len(COLORS) % len(LINE_STYLES)],
            label=name.replace("_", " "),
        )
    axes.axhline(0.5, color=GREY, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_xticks(list(_SHARES.values()), [f"{share} %" for share in _SHARES.values()])
    axes.set_xlabel("labelled training patients", fontsize=9)
    axes.set_ylabel("mean AUROC of the probe", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.tick_params(labelsize=8)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def _examples(cell: Cell, store: Store) -> dict[str, Drawing]:
    """Return the first held-out sentence of every finding, good or bad."""
    pictures = draw_pictures(load(cell.folder), store, cell.folder / "maps")
    return {
        f"example_{one.label.lower().replace(' ', '_')}": Drawing(
            one.figure, f"{one.label}: {one.sentence} The outline is the true mask."
        )
        for one in pictures
    }
