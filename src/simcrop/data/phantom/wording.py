"""What radiologists write: for every finding several sentences, places, sizes and negations.

Every positive sentence names exactly one finding. `{place}` begins with a space, "" where the
sentence says no place; `{size}` is in mm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from simcrop.data.phantom.studio import Lesion


@dataclass(frozen=True)
class Phrases:
    """The sentences for one finding.

    Attributes:
        present: statements with a `{place}` and, where the finding is measured, a `{size}`.
        unplaced: statements that say neither place nor size.
        absent: negations.
        impression: short conclusions with a `{place}`.
    """

    present: tuple[str, ...]
    unplaced: tuple[str, ...]
    absent: tuple[str, ...]
    impression: tuple[str, ...]


PHRASES = {
    "Lung nodule": Phrases(
        (
            "A {size} mm solid nodule{place}.",
            "Round nodule{place} measuring {size} mm.",
            "There is a well-defined nodule of {size} mm{place}.",
            "Nodular lesion with a diameter of {size} mm{place}.",
        ),
        ("A solid lung nodule is noted.", "Pulmonary nodule of {size} mm."),
        ("No lung nodule.", "No suspicious nodules."),
        ("Nodule{place}, follow-up advised.", "Solid nodule{place}, possibly malignant."),
    ),
    "Lung opacity": Phrases(
        (
            "Ground-glass opacity{place}.",
            "Hazy ground-glass density{place}, {size} mm in extent.",
            "An area of ground-glass attenuation{place}.",
            "Faint opacity with preserved vessels{place}.",
        ),
        ("A patchy ground-glass opacity is present.", "Ground-glass change is seen."),
        ("No ground-glass opacity.", "No hazy opacities."),
        ("Ground-glass change{place}, probably inflammatory.", "Alveolitis{place}."),
    ),
    "Consolidation": Phrases(
        (
            "Consolidation with air bronchograms{place}.",
            "Dense airspace consolidation{place}, {size} mm.",
            "There is a consolidated area{place}.",
            "Airspace disease with complete consolidation{place}.",
        ),
        ("An area of consolidation is observed.", "Consolidated lung with air bronchograms."),
        ("No consolidation.", "No airspace consolidation."),
        ("Pneumonia{place}.", "Findings consistent with pneumonic infiltrate{place}."),
    ),
    "Atelectasis": Phrases(
        (
            "Linear atelectasis{place}.",
            "Plate-like atelectasis{place}.",
            "Band of subsegmental atelectasis{place}.",
            "Discoid collapse{place}.",
        ),
        ("Linear atelectatic band.", "Subsegmental atelectasis is seen."),
        ("No atelectasis.", "No collapsed lung."),
        ("Subsegmental collapse{place}.", "Minor atelectasis{place}."),
    ),
    "Emphysema": Phrases(
        (
            "Emphysematous changes{place}.",
            "Centrilobular emphysema{place}.",
            "Multiple air cysts and bullae{place} due to emphysema.",
            "Emphysematous destruction of the parenchyma{place}.",
        ),
        ("Emphysema is present.", "Bullous emphysema."),
        ("No emphysema.", "No bullae or emphysema."),
        ("Emphysema{place}.", "Chronic obstructive changes{place}."),
    ),
    "Pleural effusion": Phrases(
        (
            "Pleural effusion{place}.",
            "Free pleural fluid{place}, {size} mm deep.",
            "Pleural effusion{place} with a depth of {size} mm.",
            "Fluid layers in the pleural space{place}.",
        ),
        ("Pleural effusion is present.", "Free pleural fluid up to {size} mm."),
        ("No pleural effusion.", "Pleural spaces are free of fluid."),
        ("Effusion{place}.", "Pleural fluid{place}, cause to be clarified."),
    ),
    "Cardiomegaly": Phrases(
        (
            "The heart is enlarged.",
            "Cardiomegaly with a transverse diameter of {size} mm.",
            "Heart size is increased.",
            "The cardiac silhouette is markedly widened.",
        ),
        ("Cardiomegaly.",),
        ("Heart size is normal.", "The heart is not enlarged."),
        ("Cardiomegaly.", "Enlarged heart, cardiac work-up suggested."),
    ),
    "Pericardial effusion": Phrases(
        (
            "Pericardial effusion measuring {size} mm.",
            "Fluid in the pericardial sac, {size} mm thick.",
            "Circular pericardial effusion.",
            "The pericardium contains fluid.",
        ),
        ("Pericardial effusion is seen.",),
        ("No pericardial effusion.", "The pericardium is unremarkable."),
        ("Pericardial effusion.", "Pericardial fluid, echocardiography advised."),
    ),
    "Arterial wall calcification": Phrases(
        (
            "Calcified plaques{place}.",
            "Atherosclerotic wall calcification{place}.",
            "Calcific atheroma{place}.",
            "Mural calcifications{place}.",
        ),
        ("Aortic wall calcification.", "Atherosclerotic aorta with calcified wall."),
        ("No aortic calcification.", "The aortic wall is smooth."),
        ("Aortic atherosclerosis.", "Atheromatous disease of the aorta."),
    ),
    "Coronary artery wall calcification": Phrases(
        (
            "Calcified plaques{place}.",
            "Coronary calcification{place}.",
            "Wall calcifications{place}.",
            "Atherosclerosis with calcium deposits{place}.",
        ),
        ("Coronary artery calcification.", "Calcified coronary arteries."),
        ("No coronary calcification.", "Coronary arteries without calcium."),
        ("Coronary artery disease.", "Coronary atherosclerosis."),
    ),
}

SEVERAL_NODULES = Phrases(
    (
        "Several nodules{place}, the largest of {size} mm.",
        "Multiple round nodules{place} up to {size} mm.",
        "There are solid nodules{place}.",
    ),
    ("Multiple pulmonary nodules.", "Several lung nodules up to {size} mm."),
    PHRASES["Lung nodule"].absent,
    ("Multiple nodules{place}, metastases possible.", "Nodules{place}, follow-up advised."),
)


class Book(NamedTuple):
    """The sentences of one hospital, for every finding and for several nodules at once."""

    phrases: Mapping[str, Phrases]
    several_nodules: Phrases


HOME = Book(PHRASES, SEVERAL_NODULES)

# Per side and level of the lung; the middle of the left lung is the lingula.
_LOBES = {
    ("left", "middle"): ("in the lingula", "in the middle zone of the left lung"),
    ("right", "middle"): ("in the right middle lobe", "in the middle zone of the right lung"),
}
_ZONES = ("in the {side} {level} lobe", "in the {level} zone of the {side} lung",
          "in the {level} part of the {side} lung")  # fmt: skip
_BOTH = ("in both {level} lobes", "bilaterally in the {level} zones")
_PLEURA = {
    "left": ("on the left", "in the left hemithorax"),
    "right": ("on the right", "in the right hemithorax"),
    "both": ("on both sides", "bilaterally"),
}
_AORTA = {
    "ascending": ("in the ascending aorta", "of the ascending aortic wall"),
    "arch": ("in the aortic arch", "along the arch of the aorta"),
    "descending": ("in the descending aorta", "of the descending thoracic aorta"),
}
_CORONARY = ("in the {level} artery", "of the {level} coronary branch", "along the {level} artery")

NORMAL = (
    "Trachea and main bronchi are open.",
    "The central airways are patent.",
    "Mediastinal structures are midline.",
    "No enlarged lymph nodes.",
    "Great vessels are of normal calibre.",
    "The oesophagus is unremarkable.",
    "Visible upper abdominal organs are normal.",
    "No fracture or lytic lesion.",
    "The thyroid gland is normal.",
    "Chest wall is unremarkable.",
)
NORMAL_IMPRESSION = (
    "No acute chest disease.",
    "Normal examination of the chest.",
    "No significant abnormality.",
)


def describe(lesion: Lesion, rng: np.random.Generator, book: Book = HOME) -> str:
    """Return a sentence of the findings for a lesion; about one in six names no place."""
    phrases = _phrases(lesion, book)
    pool = phrases.unplaced if rng.random() < 1 / 6 else phrases.present
    return str(rng.choice(pool)).format(place=_place(lesion, rng), size=lesion.size_mm)


def conclude(lesion: Lesion, rng: np.random.Generator, book: Book = HOME) -> str:
    """Return a sentence of the impression for a lesion."""
    pool = _phrases(lesion, book).impression
    return str(rng.choice(pool)).format(place=_place(lesion, rng), size=lesion.size_mm)


def deny(label: str, rng: np.random.Generator, book: Book = HOME) -> str:
    """Return a sentence saying that a finding is absent."""
    return str(rng.choice(book.phrases[label].absent))


def _phrases(lesion: Lesion, book: Book) -> Phrases:
    return book.several_nodules if lesion.count > 1 else book.phrases[lesion.label]


def _place(lesion: Lesion, rng: np.random.Generator) -> str:
    """Return one wording of where a lesion lies, with a leading space, or ""."""
    side, level = lesion.side, lesion.level
    if lesion.label == "Pleural effusion":
        pool = _PLEURA[side]
    elif lesion.label == "Arterial wall calcification":
        pool = _AORTA[level]
    elif lesion.label == "Coronary artery wall calcification":
        pool = _CORONARY
    elif side == "both":
        pool = _BOTH if level else ("in both lungs", "on both sides")
    elif not side:
        return ""
    elif not level:
        pool = ("in the {side} lung",)
    else:
        pool = _LOBES.get((side, level), _ZONES)
    return " " + str(rng.choice(pool)).format(side=side, level=level)
