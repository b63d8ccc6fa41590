"""Pictures of results: loss curves, figures with intervals and grounded sentences.

Every function returns a `Figure` of its own and touches no state of matplotlib. Colours are
the Okabe-Ito palette and perceptually even maps, readable without colour vision. Sentences are
drawn as they are: a dollar sign starts no formula.
"""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from simcrop.evaluate.intervals import Interval, LabelIntervals
from simcrop.evaluate.planes import HALO, draw_ct, outline, plane_ratios
from simcrop.evaluate.slices import (
    LUNG_WINDOW,
    PLANES,
    Plane,
    Voxel,
    Window,
    peak_voxel,
    spacing_of,
)

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", ":")
MASK_COLOR, SELECTED_COLOR = "#56E0FF", "#FFFFFF"
GREY = "#6b7280"


def _fading(name: str) -> ListedColormap:
    """Return a colour map whose low end is clear, so that the CT shows where nothing is claimed."""
    share = np.linspace(0, 1, 256)
    colors = colormaps[name](share)
    colors[:, 3] = 0.8 * share**1.5
    return ListedColormap(colors, name=f"fading {name}")


OVERLAY = _fading("plasma")


def new_figure(width: float, height: float, *, is_constrained: bool = True) -> Figure:
    """Return an empty white figure of a size in inches, drawn without a display."""
    figure = Figure(figsize=(width, height), layout="constrained" if is_constrained else None)
    FigureCanvasAgg(figure)
    return figure


def loss_curves(
    steps: Shaped[np.ndarray, " rows"], metrics: Mapping[str, Float[np.ndarray, " rows"]]
) -> Figure:
    """Draw one panel per term, training and validation together.

    `metrics` are columns named `train/patch_loss`, `val/patch_loss`, `time/...`; nan rows, where
    a column was not logged, are passed over. A term that is positive and falls more than
    twenty-fold gets a logarithmic axis.
    """
    terms = list(dict.fromkeys(name.split("/", 1)[-1] for name in metrics))
    num_columns = min(len(terms), 3)
    num_rows = -(-len(terms) // num_columns)
    width, height = 3.4 * num_columns, 2.7 * num_rows
    # Panels of one size need no search for a layout, which took more time than the drawing.
    figure = new_figure(width, height, is_constrained=False)
    figure.subplots_adjust(
        left=0.72 / width, right=1 - 0.15 / width, wspace=0.31,
        bottom=0.5 / height, top=1 - 0.32 / height, hspace=0.47,
    )  # fmt: skip
    grid = figure.subplots(num_rows, num_columns, squeeze=False)
    for axes, term in zip(grid.flat, terms, strict=False):
        for name, color in (("train", COLORS[0]), ("val", COLORS[1]), ("time", GREY)):
            values = metrics.get(f"{name}/{term}")
            if values is not None:
                is_logged = ~np.isnan(values)
                _draw_curve(axes, steps[is_logged], values[is_logged], name, color)
        drawn = np.concatenate([np.asarray(line.get_ydata()) for line in axes.lines])
        if drawn.size and drawn.min() > 0 and drawn.max() > 20 * drawn.min():
            axes.set_yscale("log")
        else:
            axes.ticklabel_format(axis="y", scilimits=(-3, 4))
        axes.set_title(term.replace("_", " "), fontsize=10)
        axes.set_xlabel("step", fontsize=9)
        axes.legend(frameon=False, fontsize=8)
        tidy(axes)
    for axes in list(grid.flat)[len(terms) :]:
        axes.remove()
    return figure


def auroc_dots(label_names: Sequence[str], results: Mapping[str, LabelIntervals]) -> Figure:
    """Draw the AUROC of every label and the mean as dots with intervals, one colour per encoder."""
    return interval_dots(label_names, results, "AUROC", reference=0.5, reference_name="chance")


def interval_dots(
    label_names: Sequence[str],
    results: Mapping[str, LabelIntervals],
    measure: str,
    *,
    reference: float | None = None,
    reference_name: str = "",
) -> Figure:
    """Draw a figure of every label and the mean, likewise, over a dotted line of reference."""
    names = [*label_names, "mean"]
    figure = new_figure(7.5, 1.2 + 0.36 * len(names))
    axes = figure.subplots()
    for i, (encoder, result) in enumerate(results.items()):
        offset = 0.5 * ((i + 0.5) / len(results) - 0.5)
        rows = np.arange(len(names)) + offset
        _draw_intervals(axes, rows, (*result.per_label, result.mean), encoder, COLORS[i % 7])
    if reference is not None:
        axes.axvline(reference, color=GREY, linewidth=1, linestyle=":")
    axes.axhline(len(names) - 1.5, color=GREY, linewidth=0.6)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    dotted = f" (dotted: {reference_name})" if reference_name else ""
    axes.set_xlabel(f"{measure}, with 95 % intervals over patients{dotted}", fontsize=9)
    figure.legend(loc="outside upper center", ncols=min(3, len(results)), frameon=False, fontsize=9)
    tidy(axes)
    return figure


def grounding_figure(
    hu: Shaped[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    similarity: Float[np.ndarray, "x y z"],
    sentence: str,
    *,
    mask: Bool[np.ndarray, "x y z"] | None = None,
    is_selected: Bool[np.ndarray, "x y z"] | None = None,
    at: Voxel | None = None,
    window: Window = LUNG_WINDOW,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw a sentence's map over the CT: the axial, coronal and sagittal slice through a voxel.

    Args:
        hu: the CT, or the crop of it that the network saw.
        affine: of the CT, RAS+.
        similarity: on the CT's grid; nan where there is no patch.
        sentence: the title, wrapped.
        mask: where the finding truly is; outlined.
        is_selected: voxels of the selected patches; outlined with dots.
        at: the voxel to cut through; the map's peak unless given.
        window: which HU are shown as grey.
        limits: similarities at the ends of the colour scale, below which the map is clear;
            the map's median and maximum unless given.

    Raises:
        ValueError: if the affine is not in RAS+ order.
    """
    spacing_mm = spacing_of(affine)
    peak = peak_voxel(similarity)
    at = peak if at is None else at
    low, high = limits or (float(np.nanmedian(similarity)), float(np.nanmax(similarity)))
    ratios = plane_ratios(hu.shape, spacing_mm)
    lines = textwrap.wrap(sentence, 105) or [""]
    figure = new_figure(10.4, 9.2 / sum(ratios) + 0.85 + 0.2 * len(lines))
    panels = figure.subplots(1, 3, width_ratios=ratios)
    for axes, plane in zip(panels, PLANES, strict=True):
        overlay = _draw_plane(axes, plane, at, hu, spacing_mm, window, similarity, (low, high))
        for voxels, color, style in ((mask, MASK_COLOR, "-"), (is_selected, SELECTED_COLOR, ":")):
            if voxels is not None:
                edges = outline(plane.cut(voxels, at))
                axes.add_collection(
                    LineCollection(list(edges), colors=color, linestyles=style, lw=1.4)
                )
        position_mm = (affine @ (*at, 1))[plane.axis]
        axes.set_title(f"{plane.name}, {'xyz'[plane.axis]} = {position_mm:.0f} mm", fontsize=9)
    figure.colorbar(
        overlay, ax=panels, shrink=0.8, pad=0.01, label="similarity (cosine)", extend="min"
    )
    figure.suptitle("\n".join(lines), fontsize=11, parse_math=False)
    _draw_key(figure, at == peak, mask is not None, is_selected is not None)
    return figure


def _draw_plane(
    axes: Axes,
    plane: Plane,
    at: Voxel,
    hu: np.ndarray,
    spacing_mm: tuple[float, float, float],
    window: Window,
    similarity: np.ndarray,
    limits: tuple[float, float],
) -> AxesImage:
    """Draw CT, map, cross and edge letters of one plane; return the map for the colour bar."""
    aspect = draw_ct(axes, plane, at, hu, spacing_mm, window)
    overlay = axes.imshow(
        plane.cut(similarity, at), cmap=OVERLAY, vmin=limits[0], vmax=limits[1], aspect=aspect,
        interpolation="nearest",
    )  # fmt: skip
    axes.plot(*plane.pixel(at, hu.shape), "+", color="white", markersize=9, path_effects=HALO)
    return overlay


def _draw_key(figure: Figure, is_peak: bool, has_mask: bool, has_selected: bool) -> None:
    """Explain the marks, on dark ground because they are drawn on a CT."""
    cross = Line2D([], [], color="white", marker="+", linestyle="", markersize=9)
    cross.set_label("highest similarity" if is_peak else "where the slices cut")
    handles = [cross]
    if has_mask:
        handles.append(Line2D([], [], color=MASK_COLOR, label="true mask"))
    if has_selected:
        handles.append(Line2D([], [], color=SELECTED_COLOR, ls=":", label="selected patches"))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=3, fontsize=9,
        facecolor="#22262c", edgecolor="#22262c", labelcolor="white", framealpha=1,
    )  # fmt: skip


def _draw_curve(axes: Axes, steps: np.ndarray, values: np.ndarray, name: str, color: str) -> None:
    """Draw a curve; a long one faintly, under its running mean."""
    width = len(values) // 40
    if width > 1:
        axes.plot(steps, values, color=color, alpha=0.25, linewidth=0.8)
        kernel = np.ones(width) / width
        steps = np.convolve(steps, kernel, mode="valid")
        values = np.convolve(values, kernel, mode="valid")
    marker = "o" if len(values) < 20 else ""
    axes.plot(steps, values, color=color, label=name, marker=marker, markersize=3, linewidth=1.6)


def _draw_intervals(
    axes: Axes, rows: np.ndarray, intervals: Sequence[Interval], name: str, color: str
) -> None:
    values, low, high = np.array([(i.value, i.low, i.high) for i in intervals]).T
    axes.hlines(rows, low, high, color=color, linewidth=2, alpha=0.55)
    axes.plot(values, rows, "o", color=color, markersize=5, label=name)


def tidy(axes: Axes) -> None:
    """Draw light axes: no box, a faint grid, small numbers."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.2)
    axes.tick_params(labelsize=9)
