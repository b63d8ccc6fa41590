"""A training step without data: the networks of a configuration, and a batch of its size.

`simcrop plan` runs it on tensors without storage, the benchmarks on real ones. The text encoder has
the right size and random weights, so nothing is downloaded.
"""

from dataclasses import dataclass

import torch

from simcrop.config import Config
from simcrop.data.samples import Batch
from simcrop.model.text_encoder import TextEncoder
from simcrop.train.networks import build_simcrop, set_up_blocks
from simcrop.train.pretrain import Pretraining


@dataclass(frozen=True)
class TextLengths:
    """Words and sentences of a batch, padded to its longest report."""

    findings_words: int
    report_words: int
    sentences: int


def longest(config: Config) -> TextLengths:
    """Return the lengths of a batch that holds a report of the largest size."""
    text = config.text
    return TextLengths(text.max_words, text.max_words, text.max_sentences)


def rehearsal(config: Config) -> Pretraining:
    """Return the module of a run, untrained, with every word of the text encoder to predict."""
    encoder = TextEncoder(config.text.encoder, untrained=True)
    vocabulary = torch.arange(encoder.vocabulary_size)
    simcrop = build_simcrop(config, text_dim=encoder.dim, vocabulary_size=len(vocabulary))
    set_up_blocks(simcrop, config.trainer)
    return Pretraining(config, simcrop, encoder, vocabulary, unknown_id=0)


def rehearsal_batch(config: Config, text_dim: int, num_studies: int, text: TextLengths) -> Batch:
    """Return a batch of noise and made-up words, no two sentences of which say the same."""
    B, F, T, S = num_studies, text.findings_words, text.report_words, text.sentences
    terms, grid = config.terms, config.contract().patch_grid
    F = F if terms.reads_findings else 0
    T = T if terms.masked_report else 0
    is_cached = terms.masked_report and config.masking.word_variants > 0
    words = torch.arange(T).expand(B, T)
    is_padding = torch.zeros(B, *config.volume.crop_shape, dtype=torch.bool)
    is_padding[:, 0] = True  # a crop with padding is the dearer one
    return Batch(
        study_ids=tuple(map(str, range(B))),
        voxels=torch.rand(B, *config.volume.crop_shape) * 2 - 1,
        is_padding=is_padding,
        is_body=torch.ones(B, grid.num_patches, dtype=torch.bool),
        findings_states=torch.randn(B, F, text_dim),
        sentence_of_word=(torch.arange(F) % S + 1).expand(B, F),
        sentence_keys=torch.arange(B * S).view(B, S),
        sentence_weights=torch.ones(B, S),
        sentence_is_normal=torch.zeros(B, S, dtype=torch.bool),
        sentence_is_valid=torch.ones(B, S, dtype=torch.bool),
        report_ids=words,
        masked_ids=words,
        is_masked=words < round(config.masking.word_ratio * T),
        report_is_valid=torch.ones(B, T, dtype=torch.bool),
        report_states=torch.randn(B, T, text_dim) if is_cached else None,
    )
