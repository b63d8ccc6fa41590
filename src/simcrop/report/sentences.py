"""Sentences of a report: the unit of alignment.

A pre-pass does what no general splitter does on report text: it breaks at bullets, list numbers,
headings and the quotation marks that separate items of an impression, joins hard-wrapped lines
and inserts the space missing in "segment.There". nupunkt then finds the sentence ends inside
each block; two rules correct it, since it was trained on law texts (it takes "wall." and "disc."
for abbreviations).

Differs: upstream splits token ids at "." unless a digit stands beside it (method.md, section 5),
which loses the sentence after "5 mm." and everything behind the last full stop. On plain text
the two agree; see D-8.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable
from functools import cache
from itertools import pairwise

_ITEM_LABEL = re.compile(r"^(?:[-*\u2013\u2014](?=\s)|[a-h][.)](?=\s+[A-Z]))\s*")
# "1. ", "1) ", "(1) ", "1-": at the start of a line, or inside one before a capital letter
_NUMBERED_ITEM = re.compile(
    r"(?:^[ \t]*|(?:(?<=[.?!;:)])\s+|\s+(?=\(|\d{1,2}-))(?=\S+\s*[A-Z]))"
    r"\(?(\d{1,2})(?:[.)](?=\s)|-(?=[A-Z]))\s*",
    re.MULTILINE,
)
_HEADING = re.compile(r"^[A-Z][\w /&,()-]{1,50}:(?:\s|$)")
_QUOTES = '"“”'

# Each pattern marks a place where a new block starts; the text it matches is dropped.
_BLOCK_STARTS = re.compile(
    r"\s*[•·▪●◦‣∙]\s*"
    # 'nodule " Effusion': a quotation mark on its own separates items
    rf"|(?:^|\s)[{_QUOTES}]+(?=\s|$)"
    # 'nodule." Effusion', 'nodule. "Effusion': one that follows a sentence end does too
    rf"|(?<=[.?!)])[{_QUOTES}]+(?=\s+[^a-z\s]|\s*$|[A-Z])"
    rf"|(?<=[.?!])\s+(?=[{_QUOTES}]\w)"
    # 'no effusion HEART: normal'
    r"|(?<=[a-z.;)])\s+(?=[A-Z]{4,}[A-Z /&-]*:\s)"
)
_MISSING_SPACE = re.compile(r"(?<=[a-z0-9)])([.?!]+)(?=[A-Z][a-z])")
_BRACKETED = re.compile(r"\([^()]*\)")
_LONE_STOP = re.compile(r"(?<=[.?!)])(?:\s+\.)+(?=\s|$)")
# Three letters, or two capitals ("after IVCM.", "on CT."), never an initial or "e.g."
_END_OF_PLAIN_WORD = re.compile(r"(?:[a-z]{3}|[A-Z]{2})[.?!]+\s+(?=[A-Z0-9(])")
_ABBREVIATION = re.compile(
    r"\b(?:approx|fig|figs|segm?|im|img|ser|max|min|diam|dist|no|nr|vol|vs|ca)\.\s+$", re.I
)
# Part of the preprocessing contract: a new number whenever a text may be split in another way,
# so that a checkpoint says when it was trained on other sentences. A test notices.
SENTENCE_RULE = "simcrop 1"
_NARROWEST_WRAP = 40  # characters; below this a line break is taken for the end of an item


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a section, in order, without bullets and list numbers.

    A heading ("LUNGS:", "When examined in the lung parenchyma window;") stays in front of the
    sentence that follows it. Decimals, abbreviations and bracketed asides are not split. Words
    are never lost; a text without any letter or digit has no sentences.
    """
    sentences: list[str] = []
    heading = ""
    for block in _blocks(text):
        if block.endswith(":") and _HEADING.match(block):
            heading = f"{heading} {block}".strip()
            continue
        pieces = [piece for piece in map(_strip_marks, _split_block(block)) if piece]
        if pieces and heading:
            pieces[0], heading = f"{heading} {pieces[0]}", ""
        sentences += pieces
    return [*sentences, heading] if heading else sentences


def sentence_key(sentence: str) -> int:
    """Return a 63-bit number that two sentences share if they say the same, letter by letter.

    Case, white space and final punctuation do not count. The number is the same on every
    machine, so that exact duplicates in a batch can be found without carrying their text.
    """
    text = unicodedata.normalize("NFKC", sentence).casefold()
    text = " ".join(text.split()).rstrip(" .,;:!?")
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def _blocks(text: str) -> list[str]:
    """Cut the text at everything but sentence ends; join hard-wrapped lines."""
    text = unicodedata.normalize("NFC", text)
    text = _BLOCK_STARTS.sub("\n\n", _mark_items(text))
    text = _LONE_STOP.sub("", _MISSING_SPACE.sub(r"\1 ", text))
    lines = [" ".join(line.split()) for line in text.split("\n")]
    width = max(map(len, lines))
    blocks: list[str] = []
    previous = ""
    for line in lines:
        if previous and line and _continues(previous, line, width):
            blocks[-1] += " " + line
        elif line:
            blocks.append(_ITEM_LABEL.sub("", line))
        previous = line
    return blocks


def _mark_items(text: str) -> str:
    """Put items 1, 2, ... on lines of their own, unnumbered; "no. 45." does not go on counting."""
    expected = 1

    def mark(match: re.Match[str]) -> str:
        nonlocal expected
        number = int(match[1])
        if number not in (1, expected):
            return match[0]
        expected = number + 1
        return "\n\n"

    return _NUMBERED_ITEM.sub(mark, text)


def _continues(previous: str, line: str, width: int) -> bool:
    """Say whether `line` goes on with the sentence of the line before it."""
    if _ITEM_LABEL.match(line) or _HEADING.match(line) or previous.endswith(":"):
        return False
    was_full = len(previous) + 1 + len(line.split()[0]) > max(width, _NARROWEST_WRAP)
    return was_full or (line[0].islower() and not previous.islower())


def _split_block(block: str) -> list[str]:
    """Cut one block at its sentence ends."""
    guarded = _guard(block)
    starts = {start for start, _ in _sentence_spans()(guarded)}
    starts |= {match.end() for match in _END_OF_PLAIN_WORD.finditer(guarded)}
    cuts = [0, *sorted(s for s in starts if s > 0 and _may_start(guarded, s)), len(block)]
    return [block[start:end] for start, end in pairwise(cuts)]


def _may_start(text: str, start: int) -> bool:
    """Say no to a break before a lower-case letter or inside "approx. 5 mm"."""
    if text[start].isdigit():
        return not _ABBREVIATION.search(text, max(0, start - 10), start)
    return not text[start].islower()


def _guard(block: str) -> str:
    """Return a copy of equal length in which only true sentence ends look like one."""
    guarded = _BRACKETED.sub(lambda match: re.sub("[.?!]", ",", match[0]), block)
    if not any(char.isupper() for char in guarded):  # all lower case: raise each first letter
        guarded = re.sub(r"(?<=[.?!] )[a-z]", lambda match: match[0].upper(), guarded)
    return guarded


def _strip_marks(sentence: str) -> str:
    """Remove an unpaired or all-enclosing quotation mark; empty if no word is left."""
    sentence = sentence.strip()
    num_quotes = sum(sentence.count(quote) for quote in _QUOTES)
    is_enclosed = num_quotes == 2 and sentence[0] in _QUOTES and sentence[-1] in _QUOTES
    if num_quotes == 1 or is_enclosed:
        sentence = sentence.strip(_QUOTES + " ")
    return sentence if any(char.isalnum() for char in sentence) else ""


@cache
def _sentence_spans() -> Callable[[str], list[tuple[int, int]]]:
    """Load nupunkt's model once (40 ms); the only place that knows the library."""
    import nupunkt

    return lambda text: list(nupunkt.load("default").span_tokenize(text))
