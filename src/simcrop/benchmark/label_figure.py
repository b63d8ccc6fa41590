"""What labels save: the probe over the share of labelled patients, beside what labels alone teach.

The lines that matter are named at their right end, the rest is grey: sixteen lines in one legend
could not be told apart.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simcrop.evaluate.figures import COLORS, GREY, new_figure, tidy
from simcrop.evaluate.intervals import Interval

_SHARES = {"probe_1": 1, "probe_10": 10, "probe_100": 100}
# variant, suffix of its measures, name at the line's end
_NAMED = (
    ("recommended", " max", "recommended, largest value over patches"),
    ("recommended", "", "recommended, mean of patches"),
    ("whole", "", "alignment alone, mean of patches"),
    ("patch_statistics", "", "no network: mean and deviation of patches"),
    ("global_contrast", "", "contrast of whole volumes (as CLIP)"),
    ("masked_volume", "", "masked volume alone"),
    ("published", "", "as published"),
)
_CEILINGS = {"cnn": "a small 3-D CNN, all labels", "supervised": "the same network, all labels"}
_GAP = 0.021  # between two names, in AUROC
Figures = Mapping[str, Mapping[str, Interval]]


def label_efficiency(figures: Figures) -> Figure:
    """Draw the probe's AUROC over the share of labelled patients, a line per variant."""
    figure = new_figure(9.3, 5.2)
    axes = figure.subplots()
    _draw_others(axes, figures)
    ends = []
    for number, (variant, suffix, name) in enumerate(_NAMED):
        shown = dict(_points(figures.get(variant, {}), suffix))
        if shown:
            ends.append(_draw_line(axes, shown, number, name))
    for variant, name in _CEILINGS.items():
        if level := figures.get(variant, {}).get("probe_100"):
            axes.axhline(level.value, color="black", linewidth=1, linestyle="--")
            ends.append((level.value, name, "black"))
    _name_ends(axes, ends)
    axes.axhline(0.5, color=GREY, linewidth=1, linestyle=":", label="chance")
    axes.set_xscale("log")
    axes.set_xlim(0.8, 125)
    axes.set_xticks(list(_SHARES.values()), [f"{share} %" for share in _SHARES.values()])
    axes.minorticks_off()
    axes.set_xlabel("labelled training patients", fontsize=9)
    axes.set_ylabel("mean AUROC of a linear probe on held-out patients", fontsize=9)
    axes.legend(loc="upper left", bbox_to_anchor=(0.0, 0.93), frameon=False, fontsize=8.5)
    tidy(axes)
    return figure


def _points(measures: Mapping[str, Interval], suffix: str = "") -> Iterator[tuple[int, Interval]]:
    """Yield share and figure of the probes that there are."""
    for measure, share in _SHARES.items():
        if f"{measure}{suffix}" in measures:
            yield share, measures[f"{measure}{suffix}"]


def _draw_others(axes: Axes, figures: Figures) -> None:
    """Draw what is not named, thinly."""
    named = {variant for variant, _, _ in _NAMED} | _CEILINGS.keys()
    label = "other variants"
    for variant, measures in figures.items():
        shown = dict(_points(measures))
        if shown and variant not in named:
            values = [one.value for one in shown.values()]
            axes.plot([*shown], values, color="#b6bbc4", linewidth=0.9, label=label, zorder=1)
            label = "_"  # one entry for all


def _draw_line(
    axes: Axes, shown: Mapping[int, Interval], number: int, name: str
) -> tuple[float, str, str]:
    """Draw a line with intervals, a little beside its neighbours'; return its end."""
    color = COLORS[number % len(COLORS)]
    x = np.array([*shown]) * 1.045 ** (number - 3)
    values, low, high = np.array([(one.value, one.low, one.high) for one in shown.values()]).T
    axes.vlines(x, low, high, color=color, linewidth=1.6, alpha=0.5)
    axes.plot(x, values, "o-", color=color, markersize=4, linewidth=1.6)
    return float(values[-1]), name, color


def _name_ends(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write names to the right of their lines, each at least a gap above the one below."""
    lowest = -np.inf
    for value, name, color in sorted(ends):
        lowest = max(value, lowest + _GAP)
        axes.annotate(
            name, (1, value), xytext=(1.045, lowest), xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"), color=color, fontsize=8.5, va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.7, "shrinkA": 1,
                        "shrinkB": 0, "relpos": (0, 0.5)},
        )  # fmt: skip
