"""The class names of every public set, once, in each set's own order (method.md 11 and 12)."""

from collections.abc import Sequence
from typing import NamedTuple

CT_RATE = (
    "Medical material",
    "Arterial wall calcification",
    "Cardiomegaly",
    "Pericardial effusion",
    "Coronary artery wall calcification",
    "Hiatal hernia",
    "Lymphadenopathy",
    "Emphysema",
    "Atelectasis",
    "Lung nodule",
    "Lung opacity",
    "Pulmonary fibrotic sequela",
    "Pleural effusion",
    "Mosaic attenuation pattern",
    "Peribronchial thickening",
    "Consolidation",
    "Bronchiectasis",
    "Interlobular septal thickening",
)

RAD_CHEST_CT = (
    "Medical material",
    "Calcification",
    "Cardiomegaly",
    "Pericardial effusion",
    "Hiatal hernia",  # "Hietal Hernia" in the published header
    "Lymphadenopathy",
    "Emphysema",
    "Atelectasis",
    "Lung nodule",
    "Lung opacity",
    "Pulmonary fibrotic sequela",
    "Pleural effusion",
    "Peribronchial thickening",
    "Consolidation",
    "Bronchiectasis",
    "Interlobular septal thickening",
)

CC_CCII = ("Normal", "Common pneumonia", "Novel coronavirus pneumonia")

LUNA16 = ("Lung nodule",)

LUNA16_SEGMENTATION = ("background", "left lung", "right lung", "trachea")

BTCV = (
    "background",
    "spleen",
    "right kidney",
    "left kidney",
    "gallbladder",
    "oesophagus",
    "liver",
    "stomach",
    "aorta",
    "inferior vena cava",
    "portal and splenic veins",
    "pancreas",
    "right adrenal gland",
    "left adrenal gland",
)

# A RadChestCT label is positive where any of these CT-RATE labels is. RadChestCT has no label for
# "Mosaic attenuation pattern".
RAD_CHEST_CT_FROM_CT_RATE: dict[str, tuple[str, ...]] = {
    name: (name,) for name in RAD_CHEST_CT if name != "Calcification"
} | {"Calcification": ("Arterial wall calcification", "Coronary artery wall calcification")}

# The published RadChestCT tables have one column `abnormality*location` for each pair; a label is
# positive where one of these abnormalities is, at any location. INFERRED: the set's authors and
# ours name findings differently, and nobody has published the list behind the 16 labels.
RAD_CHEST_CT_ABNORMALITIES: dict[str, tuple[str, ...]] = {
    "Medical material": (
        "breast_implant", "catheter_or_port", "chest_tube", "clip", "gi_tube", "hardware",
        "heart_valve_replacement", "pacemaker_or_defib", "staple", "stent", "suture",
        "tracheal_tube",
    ),
    "Calcification": ("calcification",),
    "Cardiomegaly": ("cardiomegaly",),
    "Pericardial effusion": ("pericardial_effusion",),
    "Hiatal hernia": ("hernia",),
    "Lymphadenopathy": ("lymphadenopathy",),
    "Emphysema": ("emphysema",),
    "Atelectasis": ("atelectasis",),
    "Lung nodule": ("nodule", "nodulegr1cm"),
    "Lung opacity": ("opacity",),
    "Pulmonary fibrotic sequela": ("fibrosis",),
    "Pleural effusion": ("pleural_effusion",),
    "Peribronchial thickening": ("bronchial_wall_thickening",),
    "Consolidation": ("consolidation",),
    "Bronchiectasis": ("bronchiectasis",),
    "Interlobular septal thickening": ("septal_thickening",),
}  # fmt: skip


class SharedLabel(NamedTuple):
    """A finding that two sets name, and the labels of each of which one suffices for it."""

    name: str
    of_first: tuple[str, ...]
    of_second: tuple[str, ...]


def shared_labels(first: Sequence[str], second: Sequence[str]) -> tuple[SharedLabel, ...]:
    """Return the findings that two sets of labels have in common, by name alone.

    A label is shared if both have it, or if one has it and the other has what it is made of:
    RadChestCT's "Calcification" is CT-RATE's arterial and coronary one together. No figure has a
    say in this. (The authors' code takes whichever of the two scores better on test:
    method.md 18.16.)
    """

    def made_of(name: str, known: Sequence[str]) -> tuple[str, ...]:
        parts = (name,) if name in known else RAD_CHEST_CT_FROM_CT_RATE.get(name, ())
        return parts if set(parts) <= set(known) else ()

    pairs = ((n, made_of(n, first), made_of(n, second)) for n in dict.fromkeys([*second, *first]))
    return tuple(SharedLabel(*pair) for pair in pairs if pair[1] and pair[2])


_SPELLINGS = {"hietal hernia": "Hiatal hernia"}


def standard_name(name: str, known: tuple[str, ...]) -> str | None:
    """Return the label name that a published column means, or None if it is no label."""
    wanted = _SPELLINGS.get(name.strip().lower(), name.strip())
    return {label.lower(): label for label in known}.get(wanted.lower())
