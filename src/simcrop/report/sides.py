"""A report as it would read had the chest been mirrored: left and right change places.

For volumes flipped along the left-right axis in training (method.md D-6). It is a rule on words
and on the usual short names of lobes. What has one side only keeps its name: middle lobe, lingula,
liver and spleen are on the wrong side of a mirrored chest whatever its report says.
"""

import re
from dataclasses import replace

from simcrop.report.sections import Report

_PAIRS = (("left", "right"), ("lul", "rul"), ("lll", "rll"), ("leftward", "rightward"))
_OTHER = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}
_SIDE = re.compile(rf"\b(?:{'|'.join(_OTHER)})(?=s?\b|[-_])", re.IGNORECASE)


def swap_sides(text: str) -> str:
    """Return the text with left and right exchanged, in the case of each word; its own inverse."""
    return _SIDE.sub(lambda found: _like(found[0], _OTHER[found[0].lower()]), text)


def mirrored(report: Report) -> Report:
    """Return the report of the mirrored patient."""
    return replace(
        report,
        findings=swap_sides(report.findings),
        impression=swap_sides(report.impression),
        sentences=tuple(map(swap_sides, report.sentences)),
    )


def _like(pattern: str, word: str) -> str:
    if pattern.isupper():
        return word.upper()
    return word.capitalize() if pattern[0].isupper() else word
