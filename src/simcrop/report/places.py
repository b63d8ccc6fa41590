"""Where a sentence says that something is: the side and the level that it names.

A rule on words, for controls of grounding: a map made from these words alone, without any image.
"""

import re
from typing import NamedTuple

_SIDES = re.compile(r"\b(left|right|bilateral\w*|both)\b", re.IGNORECASE)
_LEVELS = re.compile(
    r"\b(upper|middle|lower|apical|apex|basal|bases?|lingula\w*|ascending|arch|descending)\b",
    re.IGNORECASE,
)
_SIDE_WORD = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_ONE_SIDE = {"left", "right"}
_SAME_LEVEL = {"apical": "upper", "apex": "upper", "basal": "lower", "base": "lower",
               "bases": "lower"}  # fmt: skip


class Place(NamedTuple):
    """What a sentence names: `left`, `right`, `both` or ""; a level such as `upper`, or ""."""

    side: str
    level: str


def place_of(sentence: str) -> Place:
    """Return the side and the level that a sentence names; the lingula is on the left."""
    words = {word.lower() for word in _SIDES.findall(sentence)}
    level = next((word.lower() for word in _LEVELS.findall(sentence)), "")
    if level.startswith("lingula"):
        words, level = words | {"left"}, "middle"
    if len(words) == 1 and words <= _ONE_SIDE:
        return Place(words.pop(), _SAME_LEVEL.get(level, level))
    return Place("both" if words else "", _SAME_LEVEL.get(level, level))


def names_one_side(sentence: str) -> bool:
    """Return whether exchanging the sides contradicts the sentence: it says left or right alone."""
    return len({word.lower() for word in _SIDE_WORD.findall(sentence)}) == 1
