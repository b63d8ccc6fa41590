"""Paint the findings of a chest and say where they are.

Each painter draws one kind of finding into the canvas and returns its true voxels with side,
level and size as a report would name them. Lesions of the lung fill the air that is left, so they
end at pleura, vessels and heart as real ones do.
"""

from collections.abc import Callable

import numpy as np

from simcrop.data.phantom.anatomy import AORTA_RADIUS, aorta_line
from simcrop.data.phantom.canvas import ORGAN, Box
from simcrop.data.phantom.patient import LEFT, RIGHT
from simcrop.data.phantom.places import Place
from simcrop.data.phantom.shapes import Number, capsule, ellipsoid, slab
from simcrop.data.phantom.studio import Lesion, Studio


def paint_nodule(s: Studio) -> Lesion:
    """Paint one to four round solid nodules; the first is the largest."""
    diameter = s.rng.uniform(25, 36) * s.dial.size
    number = 1 + (s.rng.random() < 0.5) * int(s.rng.integers(1, 4))
    hu, parts, taken = s.rng.uniform(15, 60), [], []
    for radius in [diameter / 2, *([diameter * 0.45] * (number - 1))]:
        place = s.places.take(radius + 3, min(radius * 0.8, 14))
        axes = radius * np.array([1, s.rng.uniform(0.85, 1), s.rng.uniform(0.85, 1)])
        box, cover = s.blob(place.center, axes, s.rng.uniform(0, np.pi), 0.08 * radius)
        parts.append((box, s.fill_air(box, cover, hu)))
        taken.append(place)
    side, level = _common(taken)
    return Lesion("Lung nodule", side, level, round(diameter), s.mask(*parts), number)


def paint_ground_glass(s: Studio) -> Lesion:
    """Paint a hazy opacity through which the vessels remain visible."""
    length = s.rng.uniform(52, 84) * s.dial.size
    place = s.places.take(length / 2, 12)
    axes = length / 2 * np.array([s.rng.uniform(0.7, 1), s.rng.uniform(0.7, 1), 1])
    box, cover = s.blob(place.center, axes, s.rng.uniform(0, np.pi), 0.18 * length / 2)
    cover = cover * s.canvas.aerated[box]
    s.canvas.hu[box] += cover * s.rng.uniform(200, 300) * s.dial.contrast
    return Lesion("Lung opacity", place.side, place.level, round(length), s.mask((box, cover)))


def paint_consolidation(s: Studio) -> Lesion:
    """Paint a dense region with air-filled bronchi in it."""
    length = s.rng.uniform(60, 95) * s.dial.size
    place = s.places.take(length / 2, 6)
    axes = length / 2 * np.array([s.rng.uniform(0.65, 1), s.rng.uniform(0.65, 1), 0.95])
    box, cover = s.blob(place.center, axes, s.rng.uniform(0, np.pi), 0.2 * length / 2)
    for _ in range(2):
        ends = place.center + s.rng.uniform(-0.4, 0.4, (2, 3)) * length
        bronchus = s.canvas.cover(
            box, lambda u, v, w, e=ends: capsule(u, v, w, e[0], e[1], (2.6, 1.8))
        )
        cover = cover * (1 - 0.8 * bronchus)
    cover = s.fill_air(box, cover, s.rng.uniform(10, 50))
    return Lesion("Consolidation", place.side, place.level, round(length), s.mask((box, cover)))


def paint_atelectasis(s: Studio) -> Lesion:
    """Paint a plate of collapsed lung: thin, long, and often sloping."""
    length = s.rng.uniform(70, 100) * s.dial.size
    place = s.places.take(length / 3, 12)
    tilt, around = s.rng.uniform(0.1, 0.9), s.rng.uniform(0, 2 * np.pi)
    normal = [np.sin(tilt) * np.cos(around), np.sin(tilt) * np.sin(around), np.cos(tilt)]
    half = s.rng.uniform(7, 10) * s.dial.size
    reach = np.full(3, length / 2)
    box = s.canvas.box(place.center - reach, place.center + reach)
    axes = length / 2 * np.array([1, s.rng.uniform(0.6, 0.9), 0.9])

    def plate(u, v, w):
        disc = ellipsoid(u, v, w, place.center, axes, around)
        return np.maximum(disc, slab(u, v, w, place.center, normal, half))

    cover = s.fill_air(box, s.canvas.cover(box, plate), s.rng.uniform(0, 60))
    return Lesion("Atelectasis", place.side, place.level, None, s.mask((box, cover)))


def paint_emphysema(s: Studio) -> Lesion:
    """Paint many air-filled holes into one or both lungs, at one level."""
    sides = [(LEFT,), (RIGHT,), (LEFT, RIGHT)][int(s.rng.integers(0, 3))]
    level, parts = str(s.rng.choice(["upper", "upper", "middle", "lower"])), []
    for side in sides:
        for _ in range(int(s.rng.integers(18, 27))):
            radius = s.rng.uniform(9, 16) * s.dial.size
            place = s.places.take(radius * 0.7, 4, side, level)
            reach = np.full(3, radius)
            box = s.canvas.box(place.center - reach, place.center + reach)
            axes = radius * s.rng.uniform(0.8, 1.1, 3)
            cover = s.canvas.cover(
                box, lambda u, v, w, c=place.center, a=axes: ellipsoid(u, v, w, c, a)
            )
            cover = cover * s.canvas.aerated[box]
            s.canvas.paint(box, cover, -990, keeps_air=True)
            parts.append((box, cover))
    side = "both" if len(sides) == 2 else sides[0]
    return Lesion("Emphysema", side, level, None, s.mask(*parts))


def paint_pleural_effusion(s: Studio) -> Lesion:
    """Paint fluid that has run to the back and bottom of one or both lungs."""
    hu, parts, (a, b) = s.rng.uniform(2, 20), [], s.patient.cavity_half_axes
    sides = [side for side, depth in s.patient.fluid_mm.items() if depth]
    for side in sides:
        low, high = (5, a) if side == RIGHT else (-a, -5)
        box = s.canvas.box((low, -b, s.patient.dome_mm[side] - 75), (high, b, s.patient.apex_mm))
        cover = s.canvas.cover(box, lambda u, v, w, d=side: s.patient.fluid_distance(d, u, v, w))
        parts.append((box, s.fill_air(box, cover, hu)))
    side = "both" if len(sides) == 2 else sides[0]
    depth = round(max(s.patient.fluid_mm.values()))
    return Lesion("Pleural effusion", side, "", depth, s.mask(*parts))


def paint_cardiomegaly(s: Studio) -> Lesion:
    """Return the heart, which was painted large with the anatomy."""
    (_, axes), turn = s.patient.heart, s.patient.heart_turn
    width = 2 * np.hypot(axes[0] * np.cos(turn), axes[1] * np.sin(turn))
    mask = s.canvas.organs == ORGAN["heart"]
    return Lesion("Cardiomegaly", "", "", round(width), mask)


def paint_pericardial_effusion(s: Studio) -> Lesion:
    """Paint a shell of fluid around the heart."""
    center, axes = s.patient.heart
    depth = s.rng.uniform(10, 17) * s.dial.size
    reach = np.array([axes[0], axes[0], axes[2]]) + depth
    box = s.canvas.box(center - reach, center + reach)
    turn = s.patient.heart_turn

    def shell(u, v, w):
        inside = np.maximum(
            ellipsoid(u, v, w, center, axes + depth, turn), s.patient.cavity_distance(u, v, w)
        )
        return np.maximum(inside, -ellipsoid(u, v, w, center, axes, turn))

    owners = (0, ORGAN["left lung"], ORGAN["right lung"], ORGAN["stomach"])
    cover = s.canvas.cover(box, shell) * np.isin(s.canvas.organs[box], owners)
    s.canvas.paint(box, cover, s.rng.uniform(2, 20))
    return Lesion("Pericardial effusion", "", "", round(depth), s.mask((box, cover)))


def _chalk(s: Studio, start: np.ndarray, end: np.ndarray, radius: Number) -> tuple[Box, np.ndarray]:
    """Paint one streak of calcium and return its cover."""
    box = s.canvas.box(np.minimum(start, end) - radius, np.maximum(start, end) + radius)
    cover = s.canvas.cover(box, lambda u, v, w: capsule(u, v, w, start, end, (radius, radius)))
    s.canvas.paint(box, cover, s.rng.uniform(450, 850) * s.dial.contrast)
    return box, cover


AORTA_PARTS = {"ascending": (0.3, 2.0), "arch": (2.0, 5.0), "descending": (5.2, 5.9)}


def paint_aortic_calcification(s: Studio) -> Lesion:
    """Paint streaks of calcium on the wall of one part of the aorta."""
    part = str(s.rng.choice(list(AORTA_PARTS)))
    line, parts = aorta_line(s.patient), []
    for _ in range(int(s.rng.integers(4, 8))):
        t = s.rng.uniform(*AORTA_PARTS[part])
        piece = int(t)
        along = line[piece + 1] - line[piece]
        center = line[piece] + (t - piece) * along
        along = along / np.linalg.norm(along)
        across = np.cross(along, s.rng.standard_normal(3))
        across *= (AORTA_RADIUS * s.patient.size - 2) / np.linalg.norm(across)
        half = s.rng.uniform(6, 13) * along
        radius = s.rng.uniform(4.5, 6.5) * s.dial.size
        parts.append(_chalk(s, center + across - half, center + across + half, radius))
    return Lesion("Arterial wall calcification", "", part, None, s.mask(*parts))


# Courses on the unit sphere of the heart: first axis away from the apex, third upwards.
CORONARIES = {
    "left anterior descending": ((-0.2, 0.3, 0.9), (-0.85, 0.5, 0.15)),
    "circumflex": ((-0.15, -0.15, 0.95), (-0.45, -0.8, 0.2)),
    "right coronary": ((0.2, 0.85, 0.45), (0.5, 0.75, -0.5)),
}


def paint_coronary_calcification(s: Studio) -> Lesion:
    """Paint streaks of calcium along one coronary artery."""
    name = str(s.rng.choice(list(CORONARIES)))
    center, axes = s.patient.heart
    cos, sin = np.cos(s.patient.heart_turn), np.sin(s.patient.heart_turn)

    def on_heart(t: Number) -> np.ndarray:
        start, end = np.array(CORONARIES[name])
        unit = start + t * (end - start)
        x, y, z = unit / np.linalg.norm(unit) * axes
        return center + np.array([cos * x - sin * y, sin * x + cos * y, z])

    stops = np.sort(s.rng.uniform(0, 0.75, int(s.rng.integers(3, 5))))
    radius = s.rng.uniform(5, 7) * s.dial.size
    parts = [_chalk(s, on_heart(t), on_heart(t + 0.22), radius) for t in stops]
    return Lesion("Coronary artery wall calcification", "", name, None, s.mask(*parts))


def _common(places: list[Place]) -> tuple[str, str]:
    """Return the side and level that all places share; "both" and "" where they differ."""
    sides, levels = {p.side for p in places}, {p.level for p in places}
    return (
        sides.pop() if len(sides) == 1 else "both",
        levels.pop() if len(levels) == 1 else "",
    )


# Painted in this order: what surrounds comes first, small things last.
PAINTERS: dict[str, tuple[float, Callable[[Studio], Lesion]]] = {
    "Cardiomegaly": (0.16, paint_cardiomegaly),
    "Pericardial effusion": (0.15, paint_pericardial_effusion),
    "Pleural effusion": (0.2, paint_pleural_effusion),
    "Consolidation": (0.24, paint_consolidation),
    "Atelectasis": (0.24, paint_atelectasis),
    "Lung nodule": (0.28, paint_nodule),
    "Lung opacity": (0.2, paint_ground_glass),
    "Emphysema": (0.17, paint_emphysema),
    "Arterial wall calcification": (0.22, paint_aortic_calcification),
    "Coronary artery wall calcification": (0.2, paint_coronary_calcification),
}
LABEL_NAMES = tuple(PAINTERS)
