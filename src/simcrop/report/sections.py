"""The two sections of a report that the method reads: Findings and Impression.

Alignment sees the sentences of the Findings; the masked-report branch sees Findings and
Impression together. Whatever a table or a text file says when there is nothing to say ("nan",
"Not given.") becomes an empty section here, once, so that no such word can reach the network.
"""

import json
import math
import re
from dataclasses import dataclass

from simcrop.errors import DataError, complain

_MISSING = frozenset({"", "nan", "na", "n/a", "<na>", "none", "null", "not given", "not available"})

# Headers open a line, or follow a full stop inside one. Sections that are neither Findings nor
# Impression (why and how the patient was examined) end the section before them and are dropped.
_HEADERS = {
    "findings": r"findings?|results?|report|observations?",
    "impression": r"impressions?|conclusions?|opinion|summary|diagnosis",
    "other": r"technique|procedure|protocol|comparison|indication|reason for (?:exam|study)|"
    r"(?:clinical )?(?:history|information|indication|details)|exam(?:ination)?|recommendations?",
}
_HEADER = re.compile(
    r"(?:^[ \t]*(?:\#+|\*\*)?[ \t]*|(?<=[.?!])\s+(?=[A-Z]))"
    + r"(?P<header>"
    + "|".join(f"(?P<{name}>{words})" for name, words in _HEADERS.items())
    + r")[ \t]*(?:\*\*)?[ \t]*(?::(?:\*\*)?|$)",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True)
class Report:
    """The text of one study; sections that say nothing are empty strings.

    Attributes:
        findings: what was observed, organ by organ.
        impression: what it means, in a few lines.
        sentences: the sentences of the findings where a user has split them; else empty, and
            `simcrop.report.sentences` splits.
    """

    findings: str = ""
    impression: str = ""
    sentences: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Normalise here, so that no way of making a report lets a missing cell through."""
        sentences = tuple(filter(None, map(_text_of_cell, self.sentences)))
        object.__setattr__(self, "sentences", sentences)
        object.__setattr__(self, "findings", _text_of_cell(self.findings) or " ".join(sentences))
        object.__setattr__(self, "impression", _text_of_cell(self.impression))

    @property
    def full(self) -> str:
        """Findings and Impression as one text; Findings alone where no impression is given."""
        return " ".join(filter(None, (self.findings, self.impression)))

    @property
    def is_empty(self) -> bool:
        """True if there is no text at all."""
        return not self.full


def make_report(findings: object, impression: object, sentences: object = "") -> Report:
    """Return the report that the cells of a table describe.

    Args:
        findings: text, or any form of "missing": None, NaN, "nan", "Not given."
        impression: the same.
        sentences: the sentences of the findings as a JSON list or separated by "|"; may be
            missing.

    Differs: upstream joins the cells with `str()`, so an absent cell becomes the word "nan"
    (method.md 3.4, 18.35).

    Raises:
        DataError: if the sentences look like a JSON list and are not one of strings.
    """
    return Report(
        findings=_text_of_cell(findings),
        impression=_text_of_cell(impression),
        sentences=_sentences_of_cell(_text_of_cell(sentences)),
    )


def split_sections(text: str) -> Report:
    """Return Findings and Impression of a raw report with headers such as "FINDINGS:".

    A header opens a line or follows a full stop, in any case, with a colon or alone on its line.
    Text before the first header belongs to the Findings unless a Findings header comes later.
    Technique, history and comparison are left out. A text without headers is all Findings.
    """
    headers = list(_HEADER.finditer(text))
    sections = {"findings": [], "impression": [], "other": []}
    ends = [header.start() for header in headers[1:]] + [len(text)]
    for header, end in zip(headers, ends, strict=False):
        sections[_kind(header)].append(text[header.end() : end])
    if not sections["findings"]:
        sections["findings"].append(text[: headers[0].start()] if headers else text)
    return make_report(*("\n".join(sections[name]).strip() for name in ("findings", "impression")))


def clean(text: str) -> str:
    """Return the text as the tokenizer should see it; apply it to every sentence and query.

    As upstream (method.md 3.4): "?" is removed, ":" and ";" become ",", brackets get spaces
    around them. Ours: runs of white space become one space.

    Differs: upstream cleans the whole report before it is split, which joins the sentences on
    both sides of a question mark. We split first, then clean each sentence.
    """
    text = text.replace("?", "").replace(":", ",").replace(";", ",")
    text = re.sub(r"([()\[\]{}])", r" \1 ", text)
    return " ".join(text.split())


def _kind(header: re.Match[str]) -> str:
    return next(name for name in _HEADERS if header[name])


def _text_of_cell(cell: object) -> str:
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    text = str(cell).replace("\r\n", "\n").strip()
    return "" if text.rstrip(".").strip().casefold() in _MISSING else text


def _sentences_of_cell(cell: str) -> tuple[str, ...]:
    if not cell.startswith("["):
        return tuple(cell.split("|")) if cell else ()
    try:
        sentences = json.loads(cell)
    except json.JSONDecodeError as error:
        sentences = error
    if not isinstance(sentences, list) or not all(isinstance(item, str) for item in sentences):
        raise DataError(
            complain(
                f"sentences {cell[:80]!r} are not a JSON list of strings",
                'a JSON list such as ["First.", "Second."] or "First.|Second."',
                "Correct the cell, or leave it empty to have the findings split automatically.",
            )
        )
    return tuple(sentences)
