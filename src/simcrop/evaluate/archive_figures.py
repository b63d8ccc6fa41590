"""Pictures of an archive: how large and how bright its volumes are, and how they lie."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simcrop.data.check import HU_EDGES, Look
from simcrop.evaluate.figures import new_figure
from simcrop.evaluate.slices import PLANES, Plane, Window

_COLUMNS = 6
_WIDE_WINDOW = Window(-250, 1500)  # lung and heart at once


def size_histograms(looks: Sequence[Look]) -> Figure:
    """Draw the voxel size in the slice and between slices, and the extent from head to feet."""
    figure = new_figure(9.0, 2.8)
    axes = figure.subplots(1, 3)
    in_plane, between = _spacings(looks)
    extents = [max(n * mm for n, mm in zip(look.shape, look.spacing_mm, strict=True))
               for look in looks]  # fmt: skip
    for ax, values, name in zip(
        axes,
        (in_plane, between, extents),
        ("smallest voxel edge, mm", "largest voxel edge, mm", "longest extent, mm"),
        strict=True,
    ):
        ax.hist(values, bins=min(30, max(5, len(looks))), color="#0b62a8")
        ax.set_xlabel(name, fontsize=9)
    axes[0].set_ylabel("volumes", fontsize=9)
    return figure


def hu_histograms(looks: Sequence[Look], marked: int = 5) -> Figure:
    """Draw the share of voxels per HU: the middle half of all volumes, and the oddest by name.

    Odd is a volume whose histogram is far from the median one: never rescaled, rescaled twice, or
    another part of the body.
    """
    figure = new_figure(9.0, 3.6)
    axes: Axes = figure.subplots()
    shares = np.array([look.histogram / max(look.histogram.sum(), 1) for look in looks])
    centers = (HU_EDGES[1:] + HU_EDGES[:-1]) / 2
    median = np.median(shares, axis=0)
    low, high = np.quantile(shares, [0.25, 0.75], axis=0)
    axes.fill_between(centers, low, high, step="mid", color="#0b62a8", alpha=0.25,
                      label="middle half of the volumes")  # fmt: skip
    axes.step(centers, median, where="mid", color="#0b62a8", label="median")
    distance = np.abs(shares - median).sum(axis=1)
    for row in np.argsort(-distance, kind="stable")[: min(marked, len(looks) // 2)]:
        axes.step(centers, shares[row], where="mid", linewidth=0.9, label=looks[row].volume_id)
    axes.set_yscale("symlog", linthresh=0.01)
    axes.set_xlabel("HU")
    axes.set_ylabel("share of voxels")
    axes.legend(fontsize=8, frameon=False)
    return figure


def mosaic(looks: Sequence[Look]) -> Figure:
    """Draw the middle axial, coronal and sagittal slice of each volume, as radiologists look.

    The patient's right is on the left, the front up in axial slices, the head up in the others. A
    mirrored chest has its heart on the left of the picture, an upside-down one its liver on top.
    """
    rows = -(-len(looks) // _COLUMNS)
    figure = new_figure(2.0 * _COLUMNS, 5.6 * rows)
    grid = figure.subplots(3 * rows, _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for number, look in enumerate(looks):
        row, column = divmod(number, _COLUMNS)
        for part, (plane, cut) in enumerate(zip(PLANES, look.slices, strict=True)):
            _draw(grid[3 * row + part, column], plane, cut, look)
        grid[3 * row, column].set_title(look.volume_id[:24], fontsize=7)
    return figure


def _draw(axes: Axes, plane: Plane, cut: np.ndarray, look: Look) -> None:
    low, high = _WIDE_WINDOW.limits_hu
    width, height = plane.pixel_mm((look.slice_mm[0], look.slice_mm[1], look.slice_mm[2]))
    axes.imshow(np.flip(cut).T, cmap="gray", vmin=low, vmax=high, aspect=height / width)
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.98), (0.5, 0.02))
    sides = ("left", "right", "center", "center"), ("center", "center", "top", "bottom")
    for letter, (x, y), across, along in zip(plane.edges, places, *sides, strict=True):
        axes.text(x, y, letter, ha=across, va=along, color="#ffd54a", fontsize=6,
                  transform=axes.transAxes)  # fmt: skip


def _spacings(looks: Sequence[Look]) -> tuple[list[float], list[float]]:
    """Return the smallest and the largest voxel edge of each volume."""
    return [min(look.spacing_mm) for look in looks], [max(look.spacing_mm) for look in looks]
