"""Signed distances in mm of the solids that a phantom is made of; negative inside.

Coordinates are arrays that broadcast against each other, so the same function serves a whole
grid, a box of it, or a handful of points. Distances of ellipsoids are approximate away from the
surface, which a soft edge never notices.
"""

from collections.abc import Sequence

import numpy as np

Number = float | int
Point = Sequence[Number] | np.ndarray


def ellipsoid(u, v, w, center: Point, half_axes: Point, turn: Number = 0.0) -> np.ndarray:
    """Return the distance to an ellipsoid, turned about the z axis by `turn` radians."""
    x, y, z = u - center[0], v - center[1], w - center[2]
    if turn:
        x, y = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    radius = np.sqrt((x / half_axes[0]) ** 2 + (y / half_axes[1]) ** 2 + (z / half_axes[2]) ** 2)
    return (radius - 1) * np.float32(np.prod(half_axes) ** (1 / 3))


def superellipse(u, v, half_axes: Point) -> np.ndarray:
    """Return the relative radius of a rounded box in the axial plane: 1 on its outline."""
    x, y = (u / half_axes[0]) ** 2, (v / half_axes[1]) ** 2
    return (np.sqrt(x + y) + np.sqrt(np.sqrt(x * x + y * y))) / 2


def capsule(u, v, w, start: Point, end: Point, radii: tuple[Number, Number]) -> np.ndarray:
    """Return the distance to a tube with round ends whose radius goes from start to end."""
    axis = np.subtract(end, start)
    x, y, z = u - start[0], v - start[1], w - start[2]
    along = np.clip((x * axis[0] + y * axis[1] + z * axis[2]) / (axis @ axis), 0, 1)
    square = (x - along * axis[0]) ** 2 + (y - along * axis[1]) ** 2 + (z - along * axis[2]) ** 2
    return np.sqrt(square) - (radii[0] + along * (radii[1] - radii[0]))


def slab(u, v, w, center: Point, normal: Point, half_thickness: float) -> np.ndarray:
    """Return the distance to the space between two parallel planes; `normal` has unit length."""
    offset = (u - center[0]) * normal[0] + (v - center[1]) * normal[1] + (w - center[2]) * normal[2]
    return np.abs(offset) - half_thickness


def ripple(u, v, w, wave_mm: float, phases: Point) -> np.ndarray:
    """Return a smooth uneven field in [-1, 1] that makes the outline of a solid irregular."""
    turn = np.float32(2 * np.pi / wave_mm)
    return (
        np.sin(turn * (u + 0.4 * v) + phases[0])
        + np.sin(turn * (v + 0.4 * w) + phases[1])
        + np.sin(turn * (w + 0.4 * u) + phases[2])
    ) / 3
