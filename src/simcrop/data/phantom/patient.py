"""The body plan of one phantom patient: every length in mm and every intensity in HU.

All that makes one chest differ from the next is drawn here, once, before anything is painted;
so the same patient can be rendered on any grid. Positions are in the patient's frame: u to the
Right, v Anterior, w Superior, origin in the middle of the chest.
"""

from dataclasses import dataclass, replace

import numpy as np

from simcrop.data.phantom.shapes import Number, ellipsoid, superellipse

LEFT, RIGHT = "left", "right"
SIGN = {LEFT: -1.0, RIGHT: 1.0}
LEVELS = ("upper", "middle", "lower")


@dataclass(frozen=True)
class Patient:
    """One patient's measures. Radii of organs scale with the body, lesions do not.

    Attributes:
        scale: body size along u, v, w relative to the average patient.
        midline_mm: u of the middle of the mediastinum.
        heart_size: heart radius relative to the chest; above about 1.2 is cardiomegaly.
        dome_mm: height w of the two diaphragm domes.
        fluid_mm: depth of pleural fluid behind each lung, 0 for none.
    """

    scale: np.ndarray
    shift_mm: np.ndarray
    roll: float
    fat_mm: float
    muscle_mm: float
    midline_mm: float
    heart_size: float
    heart_turn: float
    dome_mm: dict[str, float]
    fluid_mm: dict[str, float]
    lung_hu: float
    lung_gradient_hu: float
    muscle_hu: float
    fat_hu: float
    blood_hu: float
    liver_hu: float
    bone_hu: float
    cortex_hu: float

    @property
    def size(self) -> float:
        """Mean body scale, for the radii of organs."""
        return float(self.scale.mean())

    def at(self, u: Number, v: Number, w: Number) -> np.ndarray:
        """Return a place of the average body in this patient."""
        return np.array([u, v, w]) * self.scale + [self.midline_mm, 0, 0]

    @property
    def cavity_half_axes(self) -> tuple[float, float]:
        """Half width and half depth of the thoracic cavity."""
        return 118 * self.scale[0], 78 * self.scale[1]

    @property
    def apex_mm(self) -> float:
        """Height of the lung apex."""
        return 120 * self.scale[2]

    @property
    def heart(self) -> tuple[np.ndarray, np.ndarray]:
        """Centre and half axes of the heart; it grows to the left and forwards."""
        grown = self.heart_size - 1
        center = self.at(-15 - 14 * grown, 17, -40)
        return center, np.array([55, 40, 46]) * self.size * self.heart_size

    def level_bounds(self, side: str) -> tuple[float, float]:
        """Return the two heights that part a lung into lower, middle and upper third."""
        base = self.dome_mm[side]
        return base + (self.apex_mm - base) / 3, base + (self.apex_mm - base) * 2 / 3

    def cavity_distance(self, u, v, w) -> np.ndarray:
        """Return the distance to the thoracic cavity, which closes towards the apex."""
        a, b = self.cavity_half_axes
        rise = np.clip((w - 10 * self.scale[2]) / (self.apex_mm - 10 * self.scale[2]), 0, 1)
        return (superellipse(u, v, (a, b)) - np.sqrt(1 - rise**2)) * np.float32(b)

    def above_diaphragm(self, side: str, u, v, w) -> np.ndarray:
        """Return the height in mm over the dome of one side, negative below it."""
        across = (u - SIGN[side] * 62 * self.scale[0]) / (60 * self.scale[0])
        along = (v - 14 * self.scale[1]) / (70 * self.scale[1])
        return w - (self.dome_mm[side] - 28 * across**2 - 30 * along**2)

    def lung_distance(self, side: str, u, v, w) -> np.ndarray:
        """Return the distance to one lung: cavity, beside the mediastinum, above the dome."""
        half = 19 * self.scale[0] + 7 * np.clip(-(v + 25) / 30, 0, 1)
        beside = half - SIGN[side] * (u - self.midline_mm)
        lung = np.maximum(self.cavity_distance(u, v, w), beside)
        return np.maximum(lung, -self.above_diaphragm(side, u, v, w))

    def heart_distance(self, u, v, w) -> np.ndarray:
        """Return the distance to the heart."""
        return ellipsoid(u, v, w, *self.heart, turn=self.heart_turn)

    def fluid_distance(self, side: str, u, v, w) -> np.ndarray:
        """Return the distance to the pleural fluid space: behind and below an inclined level."""
        depth = self.fluid_mm[side]
        back = -self.cavity_half_axes[1] * 0.94
        level = back + depth - 0.28 * np.maximum(w - self.dome_mm[side], -40)
        return (v - level) * np.float32(0.95)


def draw_patient(
    rng: np.random.Generator, labels: set[str], effusion_mm: dict[str, float]
) -> Patient:
    """Draw the measures of a patient who has the given findings.

    Intensities and sizes vary enough that no mean or histogram tells a finding.
    """
    scale = rng.uniform(0.9, 1.1) * rng.uniform(0.96, 1.04, 3)
    heart = rng.uniform(1.2, 1.34) if "Cardiomegaly" in labels else rng.uniform(0.86, 1.06)
    dome = -62 * scale[2] + rng.uniform(-14, 14)
    has_contrast = rng.random() < 0.45
    contrast = rng.uniform(60, 190)
    bone = rng.uniform(170, 400)
    return Patient(
        scale=scale,
        shift_mm=np.array([rng.uniform(-8, 8), rng.uniform(-2, 8), rng.uniform(-14, 14)]),
        roll=np.deg2rad(rng.uniform(-6, 6)),
        fat_mm=rng.uniform(4, 20),
        muscle_mm=rng.uniform(8, 22),
        midline_mm=rng.uniform(-4, 4),
        heart_size=heart,
        heart_turn=np.deg2rad(rng.uniform(-45, -25)),
        dome_mm={RIGHT: dome + rng.uniform(2, 12), LEFT: dome - rng.uniform(2, 10)},
        fluid_mm=effusion_mm,
        lung_hu=rng.uniform(-885, -750),
        lung_gradient_hu=rng.uniform(0, 50),
        muscle_hu=rng.uniform(32, 62),
        fat_hu=rng.uniform(-112, -90),
        blood_hu=rng.uniform(36, 48) + has_contrast * contrast,
        liver_hu=rng.uniform(0, 68) + has_contrast * rng.uniform(0, 50),
        bone_hu=bone,
        cortex_hu=bone + rng.uniform(60, 650),
    )


def spread_out(patient: Patient, rng: np.random.Generator, spread: Number) -> Patient:
    """Return the patient elsewhere in the scan, smaller, and with organs elsewhere in the chest.

    Args:
        patient: as drawn, lying about the middle.
        rng: draws how far.
        spread: 0 leaves the patient; 1 moves the chest up to 35, 30 and 50 mm off the centre, makes
            it 0.82 to 1 times as large, and moves diaphragm and mediastinum up to 22 and 25 mm.
    """
    place = np.array([rng.uniform(-35, 35), rng.uniform(-25, 30), rng.uniform(-50, 50)])
    smaller = 1 - spread * rng.uniform(0, 0.18)
    up, aside = rng.uniform(-22, 22), rng.uniform(-25, 25)
    turn = np.deg2rad(rng.uniform(-75, -5))
    return replace(
        patient,
        scale=patient.scale * smaller,
        shift_mm=(1 - spread) * patient.shift_mm + spread * place,
        midline_mm=(1 - spread) * patient.midline_mm + spread * aside,
        heart_turn=(1 - spread) * patient.heart_turn + spread * turn,
        dome_mm={side: h * smaller + spread * up for side, h in patient.dome_mm.items()},
    )
