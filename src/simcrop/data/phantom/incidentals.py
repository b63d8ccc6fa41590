"""Things a chest may hold besides the findings: they take away what a histogram would give away.

Metal, dense bone and granulomas reach the same HU as vascular calcium; cysts are as watery as
effusions. Each has a sentence that a report may mention, and that names no finding.
"""

import numpy as np

from simcrop.data.phantom.anatomy import sample_lung
from simcrop.data.phantom.canvas import Canvas
from simcrop.data.phantom.patient import LEFT, RIGHT, SIGN, Patient


def paint_incidentals(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> list[str]:
    """Paint a random choice of incidental structures and return their sentences."""
    sentences = []
    for chance, paint in _INCIDENTALS:
        wanted, stream = rng.random() < chance, rng.spawn(1)[0]
        if wanted:
            sentences.append(paint(canvas, patient, stream))
    return sentences


def _pacemaker(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> str:
    side = str(rng.choice([LEFT, LEFT, RIGHT]))
    a, b = patient.cavity_half_axes
    box = np.array([SIGN[side] * a * 0.62, b * 0.95, patient.apex_mm * rng.uniform(0.4, 0.7)])
    canvas.ball(box, np.array([13, 5, 12]), rng.uniform(1500, 2600))
    top = patient.at(22, 12, 84)
    wire = [box, top, patient.at(20, 10, -10), patient.heart[0] + rng.uniform(-18, 18, 3)]
    canvas.tube(wire, [1.6, 1.6, 1.6, 1.6], rng.uniform(700, 1600), keeps_air=True)
    return f"Pacemaker in the {side} chest wall."


def _port(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> str:
    side = str(rng.choice([LEFT, RIGHT, RIGHT]))
    a, b = patient.cavity_half_axes
    chamber = np.array([SIGN[side] * a * 0.6, b * 0.95, patient.apex_mm * rng.uniform(0.4, 0.7)])
    canvas.ball(chamber, np.array([9, 6, 9]), rng.uniform(700, 1600))
    line = [chamber, patient.at(20, 14, 90), patient.at(24, 10, 20)]
    canvas.tube(line, [1.5, 1.5, 1.5], rng.uniform(300, 700), keeps_air=True)
    return f"Port catheter on the {side}."


def _bone_islands(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> str:
    for _ in range(int(rng.integers(1, 4))):
        place = patient.at(rng.uniform(-9, 9), rng.uniform(-72, -60), rng.uniform(-110, 110))
        canvas.ball(place, rng.uniform(4.5, 8, 3), rng.uniform(600, 1300))
    return "Sclerotic bone islands in the spine."


def _rib_calluses(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> str:
    side = str(rng.choice([LEFT, RIGHT]))
    a, b = patient.cavity_half_axes
    for _ in range(int(rng.integers(2, 5))):
        angle = rng.uniform(-0.9, 0.9)
        spot = [SIGN[side] * (a + 6) * np.cos(angle), (b + 6) * np.sin(angle), rng.uniform(-90, 60)]
        canvas.ball(np.array(spot), rng.uniform(5, 8, 3), rng.uniform(500, 1100))
    return f"Old rib fractures on the {side}."


def _granulomas(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> str:
    for _ in range(int(rng.integers(1, 4))):
        side = str(rng.choice([LEFT, RIGHT]))
        spot = sample_lung(patient, rng, side, depth_mm=10, number=1)[0]
        canvas.ball(spot, rng.uniform(3.5, 4.5, 3), rng.uniform(500, 1000))
    return "Calcified granulomas."


def _sternal_wires(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> str:
    front = patient.cavity_half_axes[1] + 5
    for w in np.linspace(70, -20, 5) * patient.scale[2]:
        ends = [np.array([u, front - 2, w]) for u in (-11, 11)]
        canvas.tube(ends, [2, 2], rng.uniform(800, 2000))
    return "Sternal wires after earlier surgery."


def _liver_cyst(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> str:
    low = patient.dome_mm[RIGHT] - rng.uniform(38, 60)
    spot = np.array([rng.uniform(40, 85) * patient.scale[0], rng.uniform(-35, 30), low])
    canvas.ball(spot, rng.uniform(10, 24, 3), rng.uniform(0, 15))
    return "Simple cyst in the liver."


def _fluid_collection(canvas: Canvas, patient: Patient, rng: np.random.Generator) -> str:
    side = str(rng.choice([LEFT, RIGHT]))
    a, b = patient.cavity_half_axes
    spot = np.array([SIGN[side] * (a * 0.8), -b * 0.85, rng.uniform(-110, 40)])
    axes = np.array([30, 10, rng.uniform(25, 45)])
    canvas.ball(spot, axes, rng.uniform(0, 25), turn=SIGN[side])
    return f"Oedema of the {side} chest wall."


_INCIDENTALS = (
    (0.14, _pacemaker),
    (0.16, _port),
    (0.35, _bone_islands),
    (0.28, _rib_calluses),
    (0.22, _granulomas),
    (0.14, _sternal_wires),
    (0.25, _liver_cyst),
    (0.12, _fluid_collection),
)
