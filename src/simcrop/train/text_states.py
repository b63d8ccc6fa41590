"""What the frozen text encoder says of every report, computed once and kept on disk.

The encoder never changes, so the states of the unmasked findings are a function of the report:
they are computed before training, into one float16 array beside the store, and read back
memory-mapped. With `masking.word_variants` above 0 the same is done for that many fixed draws
of hidden words; with 0 the masked report is encoded anew in every step.

Cost: 2 bytes x words x width per report (paper: 0.4 MB; `tiny`: 0.05 MB).
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from simcrop.config import Config
from simcrop.data.augmentation import generator_for
from simcrop.data.samples import TextSample
from simcrop.errors import DataError, complain
from simcrop.model.text_encoder import TextEncoder
from simcrop.report.negation import is_normal_statement
from simcrop.report.sections import Report
from simcrop.report.sentences import sentence_key
from simcrop.report.sides import mirrored
from simcrop.report.tokens import (
    TokenizedText,
    Tokenizer,
    choose_sentences,
    tokenize_findings,
    tokenize_report,
)
from simcrop.report.word_masking import continuation_pieces, mask_words, word_of_piece
from simcrop.train.state_cache import Progress, StateCache


@dataclass(frozen=True)
class StudyText:
    """The words of one report: windows of its findings, their sentences, the whole report."""

    windows: tuple[TokenizedText, ...]
    sentences: tuple[str, ...]
    report_ids: tuple[int, ...]


@dataclass(frozen=True)
class MaskedReport:
    """One draw of hidden words of a report, with the encoder's states where computed."""

    true_ids: tuple[int, ...]
    masked_ids: tuple[int, ...]
    is_masked: np.ndarray
    states: np.ndarray | None = None


class TextStates:
    """Samples of report text for training; see the module's docstring.

    Args:
        reports: the reports by study id.
        config: the whole tree; text, masking, alignment and seed are read.
        tokenizer, encoder: of the same BERT.
        folder: where the arrays are kept; made if absent.
        on_progress: called with (done, total, what).
        device: where the encoder runs for what is not on disk yet.
    """

    def __init__(
        self,
        reports: Mapping[str, Report],
        config: Config,
        tokenizer: Tokenizer,
        encoder: TextEncoder,
        folder: Path,
        on_progress: Progress = lambda done, total, what: None,
        device: str = "cpu",
    ) -> None:
        self.config = config
        self.tokenizer = tokenizer
        if config.augmentation.swap_sides:
            reports = {**reports, **{_mirrored(s): mirrored(r) for s, r in reports.items()}}
        self.reports = reports
        self.texts = {study: self._tokenize(report) for study, report in reports.items()}
        names = tokenizer.convert_ids_to_tokens([*range(len(tokenizer))])
        self._is_continuation = continuation_pieces(names)
        findings = {s: [w.ids for w in text.windows] for s, text in self.texts.items()}
        cache = StateCache(folder, encoder, on_progress, device)
        self._no_words = np.zeros((0, encoder.dim), dtype=np.float16)
        self._findings = cache.states(findings, "findings") if config.terms.reads_findings else {}
        self._variants: list[dict[str, MaskedReport]] = []
        if config.terms.masked_report:
            for number in range(config.masking.word_variants):
                variant = {study: self._mask(study, number) for study in self.texts}
                ids = {study: [report.masked_ids] for study, report in variant.items()}
                states = cache.states(ids, f"hidden words {number + 1}")
                self._variants.append(
                    {s: replace(report, states=states[s][0]) for s, report in variant.items()}
                )

    def _tokenize(self, report: Report) -> StudyText:
        text = self.config.text
        windows, sentences = tokenize_findings(
            report,
            self.tokenizer,
            max_words=text.max_words,
            min_pieces=text.min_pieces,
            long_reports=text.long_reports,
            context=text.context,
        )
        ids = self._report_ids(report, None)
        return StudyText(tuple(windows), tuple(sentences), ids)

    def _report_ids(self, report: Report, rng: np.random.Generator | None) -> tuple[int, ...]:
        text = self.config.text
        return tokenize_report(
            report,
            self.tokenizer,
            max_words=text.max_words,
            long_reports=text.long_reports,
            rng=rng,
        )

    def _mask(self, study: str, draw: int) -> MaskedReport:
        """Hide words of a report; the draw's number decides which."""
        rng = generator_for(self.config.seed, draw, _stable_number(study))
        true_ids = self._report_ids(self.reports[study], rng)
        if not true_ids:
            return MaskedReport((), (), np.zeros(0, dtype=bool))
        ids = torch.tensor([true_ids])
        whole = self.config.masking.whole_words
        masked, is_masked = mask_words(
            ids,
            torch.ones_like(ids, dtype=torch.bool),
            mask_id=self.tokenizer.mask_token_id,
            special_ids=self.tokenizer.all_special_ids,
            ratio=self.config.masking.word_ratio,
            generator=torch.Generator().manual_seed(int(rng.integers(2**62))),
            word_of_piece=word_of_piece(ids, self._is_continuation) if whole else None,
        )
        return MaskedReport(true_ids, tuple(masked[0].tolist()), is_masked[0].numpy())

    def vocabulary(self, studies: list[str]) -> Tensor:
        """Return the word ids that the text decoder may predict, sorted."""
        if self.config.text.vocabulary == "full":
            return torch.arange(len(self.tokenizer))
        known = [*studies, *map(_mirrored, studies)]  # without a mirrored text it adds none
        used = {piece for text in self._texts_of(known) for piece in text.report_ids}
        return torch.tensor(sorted(used | set(self.tokenizer.all_special_ids)))

    def sentence_weights(self, studies: list[str]) -> dict[int, float]:
        """Return the weight of every sentence of these studies, by its key.

        "inverse_frequency" is log(1 + number of reports / reports that say it), scaled to mean
        1 over all occurrences: normal statements recur in most reports and point nowhere.
        """
        keys = [{sentence_key(x) for x in text.sentences} for text in self._texts_of(studies)]
        counts: dict[int, int] = {}
        for key in (key for report in keys for key in report):
            counts[key] = counts.get(key, 0) + 1
        if self.config.alignment.sentence_weights == "equal" or not counts:
            return dict.fromkeys(counts, 1.0)
        raw = {key: float(np.log(1 + len(keys) / n)) for key, n in counts.items()}
        mean = sum(raw[key] * n for key, n in counts.items()) / sum(counts.values())
        return {key: weight / mean for key, weight in raw.items()}

    def _texts_of(self, studies: list[str]) -> list[StudyText]:
        return [self.texts[study] for study in studies if study in self.texts]

    def mirrored_sample(self, study: str, epoch: int, weights: Mapping[int, float]) -> TextSample:
        """Return the text of a study flipped along x: left and right have changed places."""
        return self.sample(_mirrored(study), epoch, weights)

    def sample(self, study: str, epoch: int, weights: Mapping[int, float]) -> TextSample:
        """Return the text of a study as the networks need it in this epoch.

        Raises:
            DataError: if its report could not be read.
        """
        if study not in self.texts:
            raise DataError(
                complain(f"study {study}: no readable report", "a row", "See reports.csv.")
            )
        text = self.texts[study]
        rng = generator_for(self.config.seed, epoch, _stable_number(study))
        if self._variants:
            report = self._variants[int(rng.integers(len(self._variants)))][study]
        elif self.config.terms.masked_report:
            report = self._mask(study, epoch)
        else:
            report = MaskedReport((), (), np.zeros(0, dtype=bool))
        chosen = choose_sentences(len(text.sentences), self.config.text.max_sentences, rng)
        number = np.zeros(len(text.sentences) + 1, dtype=np.int64)
        number[chosen] = np.arange(1, len(chosen) + 1)
        owners = [j for w in text.windows for j in w.sentence_of_word] if self._findings else []
        keys = [sentence_key(text.sentences[j - 1]) for j in chosen]
        rarest = max(weights.values(), default=1.0)
        return TextSample(
            findings_states=_tensor([self._no_words, *self._findings.get(study, [])]),
            sentence_of_word=torch.from_numpy(number[np.array(owners, dtype=np.int64)]),
            sentence_keys=torch.tensor(keys, dtype=torch.int64),
            sentence_weights=torch.tensor([weights.get(key, rarest) for key in keys]),
            sentence_is_normal=torch.tensor(
                [is_normal_statement(text.sentences[j - 1]) for j in chosen], dtype=torch.bool
            ),
            report_ids=torch.tensor(report.true_ids, dtype=torch.int64),
            masked_ids=torch.tensor(report.masked_ids, dtype=torch.int64),
            is_masked=torch.from_numpy(report.is_masked),
            report_states=None if report.states is None else _tensor([report.states]),
        )


def _tensor(windows: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.concatenate(windows)).float()


def _mirrored(study: str) -> str:
    """Return the name under which the report of the mirrored study is kept."""
    return f"{study} mirrored"


def _stable_number(study: str) -> int:
    return int.from_bytes(hashlib.sha256(study.encode()).digest()[:4], "big")
