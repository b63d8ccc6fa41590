"""Paint the bones of the chest: ribs, spine, breast bone, collar bones and shoulder blades."""

import numpy as np

from simcrop.data.phantom.canvas import ORGAN, Canvas
from simcrop.data.phantom.patient import SIGN, Patient
from simcrop.data.phantom.shapes import ellipsoid


def paint_ribs(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint slanted ribs in the chest wall, lower in front than at the back."""
    a, b = patient.cavity_half_axes
    pitch, phase = 25 * patient.scale[2], rng.uniform(0, 25)

    def ribs(u, v, w):
        depth = patient.cavity_distance(u, v, w)
        ring = np.abs(depth - 6) - 4.5
        level = (w + 0.4 * v + phase) % pitch - pitch / 2
        return np.maximum(ring, np.abs(level) - 5)

    for sign in SIGN.values():
        low, high = sorted((sign * 18, sign * (a + 14)))
        box = canvas.box((low, -b - 14, -160), (high, b + 10, patient.apex_mm - 5))
        canvas.paint(box, canvas.cover(box, ribs), patient.cortex_hu, ORGAN["ribs"])


def paint_spine(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint vertebral bodies with discs, the canal and the arches behind it."""
    center = patient.at(0, -66, 0)[:2]
    pitch, phase = 26 * patient.scale[2], rng.uniform(0, 26)
    axes = np.array([19, 15]) * patient.size
    box = canvas.box((center[0] - 30, center[1] - 48, -160), (center[0] + 30, center[1] + 20, 160))
    u, v, w = canvas.u[box[0], box[1]], canvas.v[box[0], box[1]], canvas.w[..., box[2]]

    def column(u, v, w):
        return ellipsoid(u, v, 0 * w, (*center, 0), (*axes, 60)) * np.float32(0.6)

    is_disc = np.clip(3 - np.abs((w + phase) % pitch - pitch / 2) / 1.5, 0, 1)
    rim = np.clip((ellipsoid(u, v, w * 0, (*center, 0), (*axes, 60)) + 8) / 6, 0, 1)
    hu = patient.bone_hu + (patient.cortex_hu - patient.bone_hu) * rim
    hu = hu + is_disc * (85 - hu)
    back = center - [0, axes[1] + 14]
    arch = canvas.cover(
        box, lambda u, v, w: ellipsoid(u, v, w * 0, (*back, 0), (16, 15, 60)) * np.float32(0.4)
    )
    solid = 1 - 0.5 * np.clip(np.abs((w + phase) % pitch - pitch / 2) / 8 - 0.6, 0, 1)
    canvas.paint(box, arch * solid, patient.bone_hu + 60, ORGAN["spine"])
    canal = canvas.cover(
        box, lambda u, v, w: np.hypot(u - back[0], v - back[1] - 4) - 7 * patient.size + 0 * w
    )
    canvas.paint(box, canal, rng.uniform(15, 35))
    canvas.paint(box, canvas.cover(box, column), hu, ORGAN["spine"])


def paint_flat_bones(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint sternum, collar bones and shoulder blades."""
    a, b = patient.cavity_half_axes
    front, hu = b + 5, patient.bone_hu + 20
    top, bottom = patient.at(0, 0, 86)[2], patient.at(0, 0, -30)[2]
    for u in (-8, 8):
        line = [np.array([u, front - 10, top]), np.array([u, front, bottom])]
        canvas.tube(line, [6, 6], hu)
    swing = rng.uniform(-8, 8)
    for sign in SIGN.values():
        inner = np.array([sign * 16, front - 18, top + 10])
        outer = np.array([sign * a * 0.95, 6 + swing, top + 26])
        canvas.tube([inner, outer], [6, 6], hu + 60)
        blade = [
            np.array([sign * a * 0.62, -b - 6, 10 + swing]),
            np.array([sign * a * 0.86, -b * 0.72, 96 + swing]),
        ]
        canvas.tube(blade, [4, 8], hu)
