"""How a CT is drawn in an anatomical plane, whatever is laid over it."""

import numpy as np
from jaxtyping import Bool, Shaped
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from simcrop.evaluate.slices import PLANES, Plane, Voxel, Window

HALO = [withStroke(linewidth=1.8, foreground="black")]


def draw_ct(
    axes: Axes,
    plane: Plane,
    at: Voxel,
    hu: Shaped[np.ndarray, "x y z"],
    spacing_mm: tuple[float, float, float],
    window: Window,
) -> float:
    """Draw the CT and the edge letters of one plane; return the aspect of its pixels."""
    width_mm, height_mm = plane.pixel_mm(spacing_mm)
    aspect = height_mm / width_mm
    black, white = window.limits_hu
    axes.imshow(plane.cut(hu, at), cmap="gray", vmin=black, vmax=white, aspect=aspect)
    places = ((0.02, 0.5), (0.98, 0.5), (0.5, 0.97), (0.5, 0.03))
    for letter, (x, y) in zip(plane.edges, places, strict=True):
        axes.text(
            x, y, letter, transform=axes.transAxes, color="#FFD54A", fontsize=9,
            path_effects=HALO,
            ha="left" if x < 0.1 else "right" if x > 0.9 else "center",
            va="top" if y > 0.9 else "bottom" if y < 0.1 else "center",
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    return aspect


def plane_ratios(shape: tuple[int, ...], spacing_mm: tuple[float, float, float]) -> list[float]:
    """Return width over height of the pictures of the three planes."""
    extents = np.array(shape) * spacing_mm
    return [float(np.divide(*np.delete(extents, plane.axis))) for plane in PLANES]


def outline(is_inside: Bool[np.ndarray, "rows columns"]) -> np.ndarray:
    """Return the pixel edges between inside and outside as segments ((x, y), (x, y))."""
    padded = np.pad(is_inside, 1)
    row, column = np.nonzero(padded[:, 1:] != padded[:, :-1])
    upright = np.stack([column, row - 1, column, row], axis=1)
    row, column = np.nonzero(padded[1:] != padded[:-1])
    level = np.stack([column - 1, row, column, row], axis=1)
    return np.concatenate([upright, level]).reshape(-1, 2, 2) - 0.5
