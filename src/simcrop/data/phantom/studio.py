"""What a painter of findings works with: the canvas and its patient, free places, and the dial."""

from dataclasses import dataclass

import numpy as np

from simcrop.data.phantom.canvas import Box, Canvas
from simcrop.data.phantom.patient import Patient
from simcrop.data.phantom.places import Places
from simcrop.data.phantom.shapes import Number, Point, ellipsoid, ripple


@dataclass(frozen=True)
class Dial:
    """What the difficulty sets: factors on lesion size and contrast, and the noise in HU."""

    size: float
    contrast: float
    noise_hu: Number

    @classmethod
    def at(cls, difficulty: Number) -> "Dial":
        """Return the setting for a difficulty from 0 (easy) to 1 (hard)."""
        return cls(
            size=1.3 - 0.6 * difficulty,
            contrast=1.3 - 0.6 * difficulty,
            noise_hu=10 + 40 * difficulty,
        )

    @property
    def away(self) -> "Dial":
        """The same difficulty at another hospital: smaller lesions, twice the noise."""
        return Dial(0.85 * self.size, self.contrast, 2 * self.noise_hu)


@dataclass(frozen=True)
class Lesion:
    """One painted finding: what it is, where a radiologist would say it is, and its voxels.

    Attributes:
        side: "left", "right", "both", or "" where the finding has no side.
        level: "upper", "middle", "lower", a part of the aorta or a coronary artery, or "".
        size_mm: the measure a report would give, None where none is given; of the largest.
        mask: the true voxels.
        count: how many there are, where they can be counted.
    """

    label: str
    side: str
    level: str
    size_mm: int | None
    mask: np.ndarray
    count: int = 1


@dataclass(frozen=True)
class Studio:
    """All that a painter needs: the canvas, its patient, free places, chance and the dial."""

    canvas: Canvas
    patient: Patient
    places: Places
    rng: np.random.Generator
    dial: Dial

    def mask(self, *parts: tuple[Box, np.ndarray]) -> np.ndarray:
        """Return the voxels mostly covered by the parts; thin parts count from their best half."""
        mask = np.zeros(self.canvas.hu.shape, bool)
        for box, cover in parts:
            if cover.size and cover.max() > 0:
                mask[box] |= cover > min(0.5, 0.55 * cover.max())
        return mask

    def fill_air(self, box: Box, cover: np.ndarray, hu: Number) -> np.ndarray:
        """Paint into the aerated share of the box and return what was covered."""
        cover = cover * self.canvas.aerated[box]
        self.canvas.paint(box, cover, hu)
        return cover

    def blob(
        self, center: np.ndarray, half_axes: Point, turn: Number, unevenness_mm: Number
    ) -> tuple[Box, np.ndarray]:
        """Return the cover of an ellipsoid with an irregular outline."""
        phases = self.rng.uniform(0, 2 * np.pi, 3)
        wave_mm = float(max(half_axes)) * 1.4
        reach = np.full(3, max(half_axes) + unevenness_mm)
        box = self.canvas.box(center - reach, center + reach)

        def distance(u, v, w):
            uneven = unevenness_mm * ripple(u, v, w, wave_mm, phases)
            return ellipsoid(u, v, w, center, half_axes, turn) + uneven

        return box, self.canvas.cover(box, distance)
