"""Paint the organs of a chest, from the table under the patient to the vessels of the lungs.

Order matters: what is painted later lies on top. Lungs come first, then all that displaces them,
and each of those takes its share of `Canvas.aerated`, the air that lesions may still fill.
"""

import numpy as np

from simcrop.data.phantom.canvas import AIR_HU, Canvas
from simcrop.data.phantom.patient import LEFT, RIGHT, SIGN, Patient
from simcrop.data.phantom.shapes import capsule, ellipsoid, superellipse

ORGAN_NAMES = (
    "background", "left lung", "right lung", "trachea and bronchi", "heart", "aorta", "spine",
    "ribs", "liver", "spleen", "stomach",
)  # fmt: skip
ORGAN = {name: value for value, name in enumerate(ORGAN_NAMES)}

# The centre line of the aorta in the average patient: root, arch, descending part.
AORTA_LINE = (
    (11, 12, -22), (15, 22, 18), (8, 18, 48), (-6, -2, 62), (-17, -26, 52), (-20, -40, 28),
    (-17, -45, -60), (-8, -45, -150),
)  # fmt: skip
AORTA_RADIUS = 13.0


def paint_anatomy(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint every normal structure of the chest; findings follow separately."""
    _paint_table(canvas, patient, rng)
    _paint_trunk(canvas, patient)
    for side in (RIGHT, LEFT):
        _paint_lung(canvas, patient, side)
    _paint_abdomen(canvas, patient, rng)
    _paint_ribs(canvas, patient, rng)
    _paint_spine(canvas, patient, rng)
    _paint_flat_bones(canvas, patient, rng)
    for side in (RIGHT, LEFT):
        _paint_lung_vessels(canvas, patient, rng, side)
    _paint_great_vessels(canvas, patient)
    _paint_heart(canvas, patient, rng)
    _paint_airways(canvas, patient, rng)


def tube(
    canvas: Canvas, line: list[np.ndarray], radii: list[float], hu: float,
    organ: int | None = None, *, keeps_air: bool = False,
) -> None:  # fmt: skip
    """Paint a tube along a line of points, one capsule per piece."""
    for start, end, r0, r1 in zip(line, line[1:], radii, radii[1:], strict=False):
        reach = max(r0, r1)
        box = canvas.box(np.minimum(start, end) - reach, np.maximum(start, end) + reach)
        cover = canvas.cover(
            box, lambda u, v, w, a=start, b=end, r=(r0, r1): capsule(u, v, w, a, b, r)
        )
        canvas.paint(box, cover, hu, organ, keeps_air=keeps_air)


def ball(
    canvas: Canvas, center: np.ndarray, half_axes: np.ndarray, hu: float,
    organ: int | None = None, turn: float = 0.0,
) -> None:  # fmt: skip
    """Paint an ellipsoid."""
    reach = np.array([max(half_axes[:2]), max(half_axes[:2]), half_axes[2]])
    box = canvas.box(center - reach, center + reach)
    cover = canvas.cover(box, lambda u, v, w: ellipsoid(u, v, w, center, half_axes, turn))
    canvas.paint(box, cover, hu, organ)


def _paint_table(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint a foam mattress on a curved table, which in some scanners has metal rails.

    Foam of any density keeps a histogram from telling hazy lung by its HU.
    """
    back = -(patient.cavity_half_axes[1] + patient.muscle_mm + patient.fat_mm)
    foam_mm, shell_mm, curve = rng.uniform(4, 22), rng.uniform(3, 7), rng.uniform(0.0002, 0.0008)
    foam_hu, slope, shell_hu = rng.uniform(-880, -250), rng.uniform(-3, 3), rng.uniform(-300, 150)
    top = back - foam_mm - 2

    def between(low: float, high: float):
        middle, half = (low + high) / 2, (high - low) / 2
        return lambda u, v, w: np.abs(v - middle - curve * u * u) - half + 0 * w

    box = canvas.box((-170, -150, -160), (170, back + 30, 160))
    foam = canvas.cover(box, between(top, back + 4))
    canvas.paint(box, foam, foam_hu + slope * canvas.u[box[0], box[1]])
    canvas.paint(box, canvas.cover(box, between(top - 2 * shell_mm, top)), shell_hu)
    has_rails, rail_hu, u_rail = rng.random() < 0.4, rng.uniform(400, 2200), rng.uniform(60, 110)
    if has_rails:
        for u in (-u_rail, u_rail):
            line = [np.array([u, top - shell_mm, -160.0]), np.array([u, top - shell_mm, 160.0])]
            tube(canvas, line, [4, 4], rail_hu)


def _paint_trunk(canvas: Canvas, patient: Patient) -> None:
    """Paint skin fat, muscle and the mediastinal fat inside the cavity."""
    a, b = patient.cavity_half_axes
    shell = patient.muscle_mm + patient.fat_mm

    def outline(extra: float):
        def distance(u, v, w):
            narrowing = np.clip((w - 70 * patient.scale[2]) / 90, 0, 1) ** 2 * 0.16
            return (superellipse(u, v, (a + extra, b + extra)) + narrowing - 1) * np.float32(b)

        return distance

    box = canvas.everywhere
    canvas.paint(box, canvas.cover(box, outline(shell)), patient.fat_hu)
    canvas.paint(box, canvas.cover(box, outline(patient.muscle_mm)), patient.muscle_hu)
    box = canvas.box((-a, -b, -160), (a, b, patient.apex_mm))
    canvas.paint(box, canvas.cover(box, patient.cavity_distance), patient.fat_hu + 35)


def _paint_lung(canvas: Canvas, patient: Patient, side: str) -> None:
    a, b = patient.cavity_half_axes
    low, high = (5, a) if side == RIGHT else (-a, -5)
    box = canvas.box((low, -b, patient.dome_mm[side] - 75), (high, b, patient.apex_mm))
    cover = canvas.cover(box, lambda u, v, w: patient.lung_distance(side, u, v, w))
    # Gravity: the lung at the back of a lying patient is denser than at the front.
    hu = patient.lung_hu - patient.lung_gradient_hu * canvas.v[box[0], box[1]] / b
    canvas.paint(box, cover, hu, ORGAN[f"{side} lung"])
    canvas.aerated[box] += cover


def _paint_abdomen(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint liver, spleen and stomach with its bubble of air, and gas in the colon."""
    a, b = patient.cavity_half_axes
    left_edge = rng.uniform(-45, 0)

    def below_diaphragm(u, v, w):
        height = np.where(
            u > patient.midline_mm,
            patient.above_diaphragm(RIGHT, u, v, w),
            patient.above_diaphragm(LEFT, u, v, w),
        )
        return np.maximum(patient.cavity_distance(u, v, w) + 2, height + 6)

    # Fat, bowel or ascites: any HU in between, so that water tells no effusion.
    box = canvas.box((-a, -b, -160), (a, b, patient.dome_mm[RIGHT]))
    canvas.paint(box, canvas.cover(box, below_diaphragm), rng.uniform(-90, 40))

    def liver(u, v, w):
        inside = np.maximum(patient.cavity_distance(u, v, w) + 5, 6 - u + left_edge)
        return np.maximum(inside, patient.above_diaphragm(RIGHT, u, v, w) + 6)

    box = canvas.box((left_edge, -b, -160), (a, b, patient.dome_mm[RIGHT]))
    canvas.paint(box, canvas.cover(box, liver), patient.liver_hu, ORGAN["liver"])
    dome = patient.dome_mm[LEFT]
    spleen = np.array([-78 * patient.scale[0], -38 * patient.scale[1], dome - rng.uniform(45, 62)])
    axes = np.array([24, 30, 36]) * rng.uniform(0.85, 1.2)
    ball(canvas, spleen, axes, patient.liver_hu - 6, ORGAN["spleen"])
    stomach = np.array([-52 * patient.scale[0], 18 * patient.scale[1], dome - rng.uniform(36, 50)])
    axes = np.array([34, 32, 30]) * rng.uniform(0.8, 1.15)
    ball(canvas, stomach, axes, rng.uniform(5, 40), ORGAN["stomach"])
    bubble = axes * rng.uniform(0.3, 0.85)
    ball(canvas, stomach + [0, axes[1] - bubble[1] - 3, 0], bubble, AIR_HU + 10, ORGAN["stomach"])
    has_colon, radius = rng.random() < 0.5, rng.uniform(8, 20)
    colon = np.array([rng.uniform(-95, -75), rng.uniform(0, 35), dome - rng.uniform(48, 70)])
    if has_colon:
        ball(canvas, colon, np.array([1, 1, 1.3]) * radius, AIR_HU + 10)


def _paint_ribs(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
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
        canvas.paint(box, canvas.cover(box, ribs), patient.bone_hu + 120, ORGAN["ribs"])


def _paint_spine(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
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
    hu = patient.bone_hu - 40 + 160 * rim
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


def _paint_flat_bones(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint sternum, collar bones and shoulder blades."""
    a, b = patient.cavity_half_axes
    front, hu = b + 5, patient.bone_hu + 20
    top, bottom = patient.at(0, 0, 86)[2], patient.at(0, 0, -30)[2]
    for u in (-8, 8):
        line = [np.array([u, front - 10, top]), np.array([u, front, bottom])]
        tube(canvas, line, [6, 6], hu)
    swing = rng.uniform(-8, 8)
    for sign in SIGN.values():
        inner = np.array([sign * 16, front - 18, top + 10])
        outer = np.array([sign * a * 0.95, 6 + swing, top + 26])
        tube(canvas, [inner, outer], [6, 6], hu + 60)
        blade = [
            np.array([sign * a * 0.62, -b - 6, 10]) + [0, 0, swing],
            np.array([sign * a * 0.86, -b * 0.72, 96]) + [0, 0, swing],
        ]
        tube(canvas, blade, [4, 8], hu)


def _paint_lung_vessels(
    canvas: Canvas, patient: Patient, rng: np.random.Generator, side: str
) -> None:
    """Paint a hilum and a fan of branching vessels that thin out towards the pleura."""
    sign = SIGN[side]
    hilum = patient.at(sign * 34, -6, 4)
    ball(canvas, hilum, np.array([10, 13, 17]) * patient.size, patient.blood_hu)
    tips = sample_lung(patient, rng, side, depth_mm=9, number=9)
    for tip, side_tip in zip(tips, tips[::-1] * 0.25 + tips * 0.75, strict=True):
        fork = hilum + (tip - hilum) * rng.uniform(0.4, 0.6) + rng.uniform(-6, 6, 3)
        thick = rng.uniform(3.4, 4.6)
        tube(
            canvas, [hilum, fork, tip], [thick, thick * 0.7, 1.2], patient.blood_hu, keeps_air=True
        )
        tube(canvas, [fork, side_tip], [thick * 0.6, 1.0], patient.blood_hu, keeps_air=True)


def sample_lung(
    patient: Patient, rng: np.random.Generator, side: str, depth_mm: float, number: int
) -> np.ndarray:
    """Return random places at least `depth_mm` inside one lung and outside the heart."""
    a, b = patient.cavity_half_axes
    low = np.array([0, -b, patient.dome_mm[side] - 50])
    points = low + rng.random((number * 24, 3)) * (np.array([a, b, patient.apex_mm]) - low)
    u, v, w = (points * [SIGN[side], 1, 1]).T
    depth = np.maximum(patient.lung_distance(side, u, v, w), -patient.heart_distance(u, v, w))
    order = np.argsort(depth > -depth_mm, kind="stable")[:number]
    return np.stack([u, v, w], axis=1)[order]


def aorta_line(patient: Patient) -> list[np.ndarray]:
    """Return the centre line of this patient's aorta."""
    return [patient.at(*point) for point in AORTA_LINE]


def _paint_great_vessels(canvas: Canvas, patient: Patient) -> None:
    """Paint vena cava, pulmonary trunk with its two branches, and the aorta."""
    size, blood = patient.size, patient.blood_hu
    tube(canvas, [patient.at(25, 8, -25), patient.at(24, 12, 92)], [9 * size] * 2, blood * 0.9)
    trunk = [patient.at(-14, 26, -20), patient.at(-12, 14, 20), patient.at(-38, -6, 14)]
    tube(canvas, trunk, [12 * size, 11 * size, 8 * size], blood)
    tube(canvas, [patient.at(-12, 12, 18), patient.at(36, -4, 10)], [9 * size, 8 * size], blood)
    line = aorta_line(patient)
    tube(canvas, line, [AORTA_RADIUS * size] * len(line), blood, ORGAN["aorta"])


def _paint_heart(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint muscle with two blood-filled chambers, and a sleeve of fat on the front."""
    center, axes = patient.heart
    fat = axes + rng.uniform(0, 5)
    ball(canvas, center, fat, patient.fat_hu + 20, turn=patient.heart_turn)
    ball(canvas, center, axes, patient.muscle_hu, ORGAN["heart"], patient.heart_turn)
    along = np.array([-np.cos(patient.heart_turn), -np.sin(patient.heart_turn), -0.3])
    share = rng.uniform(0.34, 0.5)
    for shift in (0.25, -0.42):
        chamber = center + along * axes[0] * shift
        ball(canvas, chamber, axes * share, patient.blood_hu, ORGAN["heart"], patient.heart_turn)


def _paint_airways(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint trachea and main bronchi, and the gullet behind them."""
    radius = rng.uniform(7.5, 10.5) * patient.size
    gullet = [patient.at(-5, -28, 150), patient.at(-6, -34, -60)]
    tube(canvas, gullet, [7, 7], patient.muscle_hu - 8)
    carina = patient.at(3, -10, 26)
    organ = ORGAN["trachea and bronchi"]
    tube(canvas, [patient.at(2, -4, 160), carina], [radius] * 2, AIR_HU + 10, organ)
    for sign in SIGN.values():
        branch = [carina, patient.at(sign * 36, -12, 2)]
        tube(canvas, branch, [radius * 0.8, radius * 0.65], AIR_HU + 10, organ)
