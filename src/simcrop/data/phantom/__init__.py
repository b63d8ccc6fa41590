"""Synthetic chests with findings, true voxels and reports that say where they are."""

from simcrop.data.phantom.archive import MADE_OF, write_phantoms
from simcrop.data.phantom.canvas import ORGAN_NAMES
from simcrop.data.phantom.findings import LABEL_NAMES
from simcrop.data.phantom.render import SHAPE, SPACING_MM, Finding, Phantom, make_phantom

__all__ = [
    "LABEL_NAMES",
    "MADE_OF",
    "ORGAN_NAMES",
    "SHAPE",
    "SPACING_MM",
    "Finding",
    "Phantom",
    "make_phantom",
    "write_phantoms",
]
