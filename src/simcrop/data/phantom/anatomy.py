"""Paint the organs of a chest, from the table under the patient to the vessels of the lungs.

Order matters: what is painted later lies on top. Lungs come first, then all that displaces them,
and each of those takes its share of `Canvas.aerated`, the air that lesions may still fill.
"""

import numpy as np

from simcrop.data.phantom.bones import paint_flat_bones, paint_ribs, paint_spine
from simcrop.data.phantom.canvas import AIR_HU, ORGAN, Canvas
from simcrop.data.phantom.patient import LEFT, RIGHT, SIGN, Patient
from simcrop.data.phantom.shapes import Number, superellipse

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
    paint_ribs(canvas, patient, rng)
    paint_spine(canvas, patient, rng)
    paint_flat_bones(canvas, patient, rng)
    for side in (RIGHT, LEFT):
        _paint_lung_vessels(canvas, patient, rng, side)
    _paint_great_vessels(canvas, patient)
    _paint_heart(canvas, patient, rng)
    _paint_airways(canvas, patient, rng)


def _paint_table(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint a foam mattress on a curved table, which in some scanners has metal rails.

    Foam of any density keeps a histogram from telling hazy lung by its HU.
    """
    back = -(patient.cavity_half_axes[1] + patient.muscle_mm + patient.fat_mm)
    foam_mm, shell_mm, curve = rng.uniform(4, 22), rng.uniform(3, 7), rng.uniform(0.0002, 0.0008)
    foam_hu, slope, shell_hu = rng.uniform(-880, -250), rng.uniform(-3, 3), rng.uniform(-300, 150)
    top = back - foam_mm - 2

    def between(low: Number, high: Number):
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
            canvas.tube(line, [4, 4], rail_hu)


def _paint_trunk(canvas: Canvas, patient: Patient) -> None:
    """Paint skin fat, muscle and the mediastinal fat inside the cavity."""
    a, b = patient.cavity_half_axes
    shell = patient.muscle_mm + patient.fat_mm

    def outline(extra: Number):
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
    canvas.ball(spleen, axes, patient.liver_hu - 6, ORGAN["spleen"])
    stomach = np.array([-52 * patient.scale[0], 18 * patient.scale[1], dome - rng.uniform(36, 50)])
    axes = np.array([34, 32, 30]) * rng.uniform(0.8, 1.15)
    canvas.ball(stomach, axes, rng.uniform(5, 40), ORGAN["stomach"])
    bubble = axes * rng.uniform(0.3, 0.85)
    canvas.ball(
        stomach + np.array([0, axes[1] - bubble[1] - 3, 0]),
        bubble,
        AIR_HU + 10,
        ORGAN["stomach"],
    )
    has_colon, radius = rng.random() < 0.5, rng.uniform(8, 20)
    colon = np.array([rng.uniform(-95, -75), rng.uniform(0, 35), dome - rng.uniform(48, 70)])
    if has_colon:
        canvas.ball(colon, np.array([1, 1, 1.3]) * radius, AIR_HU + 10)


def _paint_lung_vessels(
    canvas: Canvas, patient: Patient, rng: np.random.Generator, side: str
) -> None:
    """Paint a hilum and a fan of branching vessels that thin out towards the pleura."""
    sign = SIGN[side]
    hilum = patient.at(sign * 34, -6, 4)
    canvas.ball(hilum, np.array([10, 13, 17]) * patient.size, patient.blood_hu)
    tips = sample_lung(patient, rng, side, depth_mm=9, number=9)
    for tip, side_tip in zip(tips, tips[::-1] * 0.25 + tips * 0.75, strict=True):
        fork = hilum + (tip - hilum) * rng.uniform(0.4, 0.6) + rng.uniform(-6, 6, 3)
        thick = rng.uniform(3.4, 4.6)
        canvas.tube([hilum, fork, tip], [thick, thick * 0.7, 1.2], patient.blood_hu, keeps_air=True)
        canvas.tube([fork, side_tip], [thick * 0.6, 1.0], patient.blood_hu, keeps_air=True)


def sample_lung(
    patient: Patient, rng: np.random.Generator, side: str, depth_mm: Number, number: int
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
    canvas.tube([patient.at(25, 8, -25), patient.at(24, 12, 92)], [9 * size] * 2, blood * 0.9)
    trunk = [patient.at(-14, 26, -20), patient.at(-12, 14, 20), patient.at(-38, -6, 14)]
    canvas.tube(trunk, [12 * size, 11 * size, 8 * size], blood)
    canvas.tube([patient.at(-12, 12, 18), patient.at(36, -4, 10)], [9 * size, 8 * size], blood)
    line = aorta_line(patient)
    canvas.tube(line, [AORTA_RADIUS * size] * len(line), blood, ORGAN["aorta"])


def _paint_heart(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint muscle with two blood-filled chambers, and a sleeve of fat on the front."""
    (center, axes), turn, heart = patient.heart, patient.heart_turn, ORGAN["heart"]
    canvas.ball(center, axes + rng.uniform(0, 5), patient.fat_hu + 20, turn=turn)
    canvas.ball(center, axes, patient.muscle_hu, heart, turn=turn)
    along = np.array([-np.cos(turn), -np.sin(turn), -0.3])
    share = rng.uniform(0.34, 0.5)
    for shift in (0.25, -0.42):
        chamber = center + along * axes[0] * shift
        canvas.ball(
            chamber, axes * share, patient.blood_hu, ORGAN["heart"], turn=patient.heart_turn
        )


def _paint_airways(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> None:
    """Paint trachea and main bronchi, and the gullet behind them."""
    radius = rng.uniform(7.5, 10.5) * patient.size
    gullet = [patient.at(-5, -28, 150), patient.at(-6, -34, -60)]
    canvas.tube(gullet, [7, 7], patient.muscle_hu - 8)
    carina = patient.at(3, -10, 26)
    organ = ORGAN["trachea and bronchi"]
    canvas.tube([patient.at(2, -4, 160), carina], [radius] * 2, AIR_HU + 10, organ)
    for sign in SIGN.values():
        branch = [carina, patient.at(sign * 36, -12, 2)]
        canvas.tube(branch, [radius * 0.8, radius * 0.65], AIR_HU + 10, organ)
