"""Pictures of segmentations: labels over the CT, and boxes of the Dice of every class."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer, Shaped
from matplotlib.collections import LineCollection
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from simcrop.evaluate.figures import COLORS, GREY, new_figure, tidy
from simcrop.evaluate.planes import draw_ct, outline, plane_ratios
from simcrop.evaluate.slices import (
    LUNG_WINDOW,
    PLANES,
    SOFT_TISSUE_WINDOW,
    Window,
    mask_voxel,
    spacing_of,
)

_LUNG_HU = -400  # the median of what is labelled lies below in lungs, above in organs
_OPACITY = 0.45
# The first five can be told apart without colour vision, the others from their neighbours.
_CLASS_COLORS = (
    *COLORS[:5],
    "#9A6324", "#42D4F4", "#E6194B", "#4363D8", "#911EB4", "#FFE119", "#F032E6", "#BFEF45",
    "#469990", "#DCBEFF", "#808000", "#000075", "#AAFFC3", "#FFD8B1", "#800000",
)  # fmt: skip


def window_for(hu: Shaped[np.ndarray, "x y z"], classes: Integer[np.ndarray, "x y z"]) -> Window:
    """Return the window in which what is labelled can be seen: of lungs, or of soft tissue."""
    inside = hu[classes > 0]
    is_lung = len(inside) > 0 and float(np.median(inside)) < _LUNG_HU
    return LUNG_WINDOW if is_lung else SOFT_TISSUE_WINDOW


def labels_figure(
    hu: Shaped[np.ndarray, "x y z"],
    affine: Float[np.ndarray, "4 4"],
    classes: Integer[np.ndarray, "x y z"],
    class_names: Sequence[str],
    title: str,
    *,
    window: Window,
    reference: Integer[np.ndarray, "x y z"] | None = None,
) -> Figure:
    """Draw labels over the CT in the three planes that show most of them.

    Args:
        hu: the CT.
        affine: of the CT, RAS+.
        classes: class of every voxel, 0 is background and clear.
        class_names: background first.
        title: one line.
        window: which HU are shown as grey.
        reference: outlined in the colours of its classes.

    Raises:
        ValueError: if the affine is not in RAS+ order.
    """
    spacing_mm = spacing_of(affine)
    shown = classes if classes.any() or reference is None else reference
    x, y, z = (n // 2 for n in hu.shape)
    at = mask_voxel(shown > 0) if shown.any() else (x, y, z)
    C = len(class_names)
    colors = [_CLASS_COLORS[i % len(_CLASS_COLORS)] for i in range(C - 1)]
    overlay, norm = ListedColormap(colors), BoundaryNorm(np.arange(0.5, C + 0.5), C - 1)
    ratios = plane_ratios(hu.shape, spacing_mm)
    figure = new_figure(10.4, 9.2 / sum(ratios) + 1.1)
    panels = figure.subplots(1, 3, width_ratios=ratios)
    for axes, plane in zip(panels, PLANES, strict=True):
        aspect = draw_ct(axes, plane, at, hu, spacing_mm, window)
        labels = np.ma.masked_equal(plane.cut(classes, at), 0)
        axes.imshow(labels, cmap=overlay, norm=norm, alpha=_OPACITY, aspect=aspect,
                    interpolation="nearest")  # fmt: skip
        if reference is not None:
            true = plane.cut(reference, at)
            for number in np.unique(true[true > 0]).tolist():
                edges = outline(true == number)
                lines = LineCollection(list(edges), colors=[colors[number - 1]], lw=1.2)
                axes.add_collection(lines)
        position_mm = (affine @ (*at, 1))[plane.axis]
        axes.set_title(f"{plane.name}, {'xyz'[plane.axis]} = {position_mm:.0f} mm", fontsize=9)
    figure.suptitle(title, fontsize=11, parse_math=False)
    both = [classes] if reference is None else [classes, reference]
    present = sorted(set(np.unique(np.concatenate([np.unique(one) for one in both]))) - {0})
    handles: list[Patch | Line2D] = [
        Patch(color=colors[number - 1], label=class_names[number]) for number in present
    ]
    if reference is not None:
        handles.append(Line2D([], [], color=GREY, label="reference (outline)"))
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    return figure


def dice_boxes(dice: Float[np.ndarray, "cases classes"], class_names: Sequence[str]) -> Figure:
    """Draw a box of the Dice of every class over the cases that have it, and each case.

    Args:
        dice: nan where a case has none.
        class_names: of the columns, background left out.
    """
    figure = new_figure(7.2, 1.3 + 0.34 * len(class_names))
    axes = figure.subplots()
    rows = np.arange(len(class_names))
    columns = [column[~np.isnan(column)] for column in dice.T]
    axes.boxplot(
        columns, positions=rows, orientation="horizontal", widths=0.6, showfliers=False,
        medianprops={"color": COLORS[1], "linewidth": 1.6}, boxprops={"color": GREY},
        whiskerprops={"color": GREY}, capprops={"color": GREY},
    )  # fmt: skip
    spread = np.random.default_rng(0)
    for row, values in zip(rows, columns, strict=True):
        heights = row + spread.uniform(-0.18, 0.18, len(values))
        axes.plot(values, heights, "o", color=COLORS[0], markersize=3, alpha=0.6)
    names = [f"{name} ({len(values)})" for name, values in zip(class_names, columns, strict=True)]
    axes.set_yticks(rows, names, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("Dice per case (number of cases that have the class)", fontsize=9)
    tidy(axes)
    return figure
