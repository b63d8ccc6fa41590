"""One phantom: patient, findings, noise and report, from a seed and a number.

Paper: none; CT volumes with reports are gated, so this is what the method can be tried and
measured on. Nothing here depends on how many phantoms are made or in which order.
"""

from dataclasses import dataclass

import numpy as np

from simcrop.data.phantom.anatomy import paint_anatomy
from simcrop.data.phantom.canvas import Canvas
from simcrop.data.phantom.findings import PAINTERS
from simcrop.data.phantom.incidentals import paint_incidentals
from simcrop.data.phantom.patient import LEFT, RIGHT, draw_patient, spread_out
from simcrop.data.phantom.places import Places
from simcrop.data.phantom.shapes import Number
from simcrop.data.phantom.studio import Dial, Lesion, Studio
from simcrop.data.phantom.wording import (
    HOME,
    NORMAL,
    NORMAL_IMPRESSION,
    Book,
    conclude,
    deny,
    describe,
)
from simcrop.data.phantom.wording_away import AWAY

SHAPE = (60, 48, 36)
SPACING_MM = (5.5, 5.5, 8.0)


@dataclass(frozen=True)
class Finding(Lesion):
    """A lesion of a phantom with the sentence of the findings that states it."""

    sentence: str = ""


@dataclass(frozen=True)
class Phantom:
    """A synthetic chest CT with everything known about it.

    Attributes:
        hu: int16, (x, y, z) in RAS+ order.
        affine: 4 x 4, voxel indices to RAS+ mm.
        findings: what is present; every sentence occurs verbatim in `findings_text`.
        anatomy: uint8, one of `anatomy.ORGAN_NAMES` per voxel.
    """

    hu: np.ndarray
    affine: np.ndarray
    findings: tuple[Finding, ...]
    anatomy: np.ndarray
    findings_text: str
    impression: str


def make_phantom(
    seed: int,
    index: int,
    difficulty: Number = 0.5,
    *,
    shape: tuple[int, int, int] = SHAPE,
    spacing_mm: tuple[float, float, float] = SPACING_MM,
    away: bool = False,
    spread: Number = 0.0,
) -> Phantom:
    """Return phantom number `index` of a seed; another grid shows the same patient.

    Args:
        seed: of the whole set.
        index: of the patient, from 0.
        difficulty: 0 (large, distinct findings, little noise) to 1.
        shape: voxels along x, y, z.
        spacing_mm: voxel size; the field of view is centred on the scanner's origin.
        away: from another hospital: other sentences, smaller lesions, and a scanner whose noise is
            twice as strong and correlated between slices.
        spread: 0 (chests lie alike) to 1 (anywhere in the scan), see `patient.spread_out`.

    Raises:
        ValueError: if the difficulty or the spread is outside [0, 1].
    """
    if not 0 <= difficulty <= 1:
        raise ValueError(f"difficulty {difficulty} is outside 0 (easy) to 1 (hard)")
    if not 0 <= spread <= 1:
        raise ValueError(f"spread {spread} is outside 0 (chests lie alike) to 1 (anywhere)")
    # A stream of its own for each part: the grid changes how much noise is drawn, nothing else.
    body, organs, extras, lesions, words, noise, place = (
        np.random.default_rng(s) for s in np.random.SeedSequence([seed, index]).spawn(7)
    )
    dial, book = (Dial.at(difficulty).away, AWAY) if away else (Dial.at(difficulty), HOME)
    labels = [label for label, (prevalence, _) in PAINTERS.items() if body.random() < prevalence]
    depth = _effusion_depth(body, "Pleural effusion" in labels, dial)
    patient = draw_patient(body, set(labels), depth)
    if spread:
        patient = spread_out(patient, place, spread)
    canvas = Canvas(shape, spacing_mm, patient.shift_mm, patient.roll)
    paint_anatomy(canvas, patient, organs)
    remarks = paint_incidentals(canvas, patient, extras)
    studio = Studio(canvas, patient, Places(patient, lesions), lesions, dial)
    painted = [PAINTERS[label][1](studio) for label in labels]
    findings = tuple(Finding(**vars(d), sentence=describe(d, words, book)) for d in painted)
    findings_text = _write_findings(findings, labels, remarks, words, book)
    impression = _write_impression(painted, words, book)
    hu = _scan(canvas, noise, dial.noise_hu, (0, 1, 2) if away else (0, 1))
    return Phantom(hu, canvas.affine, findings, canvas.organs, findings_text, impression)


def _effusion_depth(rng: np.random.Generator, has_fluid: bool, dial: Dial) -> dict[str, float]:
    sides = [(LEFT,), (RIGHT,), (LEFT, RIGHT)][int(rng.choice(3, p=[0.4, 0.4, 0.2]))]
    depths = rng.uniform(22, 48, 2) * dial.size
    return {
        side: float(d) if has_fluid and side in sides else 0.0
        for side, d in zip((LEFT, RIGHT), depths, strict=True)
    }


def _scan(
    canvas: Canvas, rng: np.random.Generator, noise_hu: float, correlated: tuple[int, ...]
) -> np.ndarray:
    """Return the canvas as a scanner stores it: noise correlated along some axes, int16."""
    noise = rng.standard_normal(canvas.hu.shape, dtype=np.float32)
    for axis in correlated:
        noise = noise + 0.5 * (np.roll(noise, 1, axis) + np.roll(noise, -1, axis))
    noise *= np.float32(noise_hu * rng.uniform(0.6, 1.4) / 1.5)
    return np.rint(np.clip(canvas.hu + noise, -1024, 3071)).astype(np.int16)


def _write_findings(
    findings: tuple[Finding, ...],
    labels: list[str],
    remarks: list[str],
    rng: np.random.Generator,
    book: Book,
) -> str:
    """Join positive sentences, negations, normal statements and remarks in random order."""
    sentences = [finding.sentence for finding in findings]
    sentences += [
        deny(label, rng, book) for label in PAINTERS if label not in labels and rng.random() < 1 / 3
    ]
    distractors = [*remarks, *rng.permutation(NORMAL).tolist()]
    sentences += distractors[: int(rng.integers(1, 4))]
    return " ".join(rng.permutation(sentences).tolist())


def _write_impression(lesions: list[Lesion], rng: np.random.Generator, book: Book) -> str:
    if not lesions:
        return str(rng.choice(NORMAL_IMPRESSION))
    return " ".join(conclude(lesion, rng, book) for lesion in lesions)
