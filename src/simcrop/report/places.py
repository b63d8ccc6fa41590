"""Where a sentence says that something is: the side and the level that it names.

A rule on words, for controls of grounding: a map made from these words alone, without any image,
and the same sentence with its sides exchanged.
"""

import re
from typing import NamedTuple

_SIDES = re.compile(r"\b(left|right|bilateral\w*|both)\b", re.IGNORECASE)
_LEVELS = re.compile(
    r"\b(upper|middle|lower|apical|apex|basal|bases?|lingula\w*|ascending|arch|descending)\b",
    re.IGNORECASE,
)
_SIDE_WORD = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left"}
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
    if len(words) == 1 and words <= _OTHER.keys():
        return Place(words.pop(), _SAME_LEVEL.get(level, level))
    return Place("both" if words else "", _SAME_LEVEL.get(level, level))


def swap_sides(sentence: str) -> str:
    """Return the sentence with left and right exchanged, capitals kept."""

    def other(match: re.Match[str]) -> str:
        word = _OTHER[match.group().lower()]
        return word.capitalize() if match.group()[0].isupper() else word

    return _SIDE_WORD.sub(other, sentence)


def names_one_side(sentence: str) -> bool:
    """Return whether exchanging the sides contradicts the sentence: it says left or right alone."""
    return len({word.lower() for word in _SIDE_WORD.findall(sentence)}) == 1
