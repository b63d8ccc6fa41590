"""Where in a lung a lesion goes: a side, a level, and free room for its size."""

from dataclasses import dataclass, field

import numpy as np

from simcrop.data.phantom.patient import LEVELS, SIGN, Patient
from simcrop.data.phantom.shapes import Number, Point


@dataclass(frozen=True)
class Place:
    """A spot in the lung, as a sentence would name it and in the patient's mm."""

    side: str
    level: str
    center: np.ndarray


@dataclass
class Places:
    """Hands out places in the lungs of one patient that keep clear of each other."""

    patient: Patient
    rng: np.random.Generator
    _taken: list[tuple[np.ndarray, float]] = field(default_factory=list)

    def take(
        self, radius_mm: Number, depth_mm: Number, side: str | None = None, level: str | None = None
    ) -> Place:
        """Return a place whose centre lies `depth_mm` inside the lung, and keep it.

        Side and level are drawn evenly where not given. The best of some hundred random spots
        is taken: the first that breaks no wish, or else the one that breaks them least.
        """
        drawn_side, drawn_level = self.rng.choice(sorted(SIGN)), self.rng.choice(LEVELS)
        side, level = side or str(drawn_side), level or str(drawn_level)
        low, high = _level_range(self.patient, side, level)
        a, b = self.patient.cavity_half_axes
        spread = self.rng.random((300, 3))
        points = np.array([0, -b, low]) + spread * [a, 2 * b, high - low]
        points[:, 0] *= SIGN[side]
        u, v, w = points.T
        broken = np.maximum(0, self._depth_missing(side, u, v, w) + depth_mm)
        margin = min(12.0, (high - low) / 4)
        broken += np.maximum(0, low + margin - w) + np.maximum(0, w - high + margin)
        for center, radius in self._taken:
            gap = np.linalg.norm(points - center, axis=1) - radius - radius_mm
            broken += np.maximum(0, -gap)
        center = points[np.argmin(broken)]
        self._taken.append((center, radius_mm))
        return Place(side, level, center)

    def keep_clear(self, center: Point, radius_mm: Number) -> None:
        """Reserve room for something that is already there."""
        self._taken.append((np.asarray(center), radius_mm))

    def _depth_missing(self, side: str, u, v, w) -> np.ndarray:
        patient = self.patient
        depth = np.maximum(patient.lung_distance(side, u, v, w), -patient.heart_distance(u, v, w))
        if patient.fluid_mm[side]:
            depth = np.maximum(depth, -patient.fluid_distance(side, u, v, w))
        return depth


def _level_range(patient: Patient, side: str, level: str) -> tuple[float, float]:
    lower, upper = patient.level_bounds(side)
    return {
        "lower": (patient.dome_mm[side] - 35, lower),
        "middle": (lower, upper),
        "upper": (upper, patient.apex_mm - 8),
    }[level]
