"""Does the masked report use the volume? Hidden words of findings, true against another volume.

Templates and neighbours give most words away, so only words of sentences that state something
are counted: those of normal statements say nothing about a volume. Each held-out report has the
fixed draw of hidden words that training would give it; a study's value is the share named rightly.
"""

import numpy as np
import torch

from simcrop.data.samples import Batch, StudyDataset, collate
from simcrop.data.store import Store
from simcrop.evaluate.items import Items
from simcrop.model.text_encoder import TextEncoder
from simcrop.report.negation import is_normal_statement
from simcrop.report.sections import Report, clean
from simcrop.report.sentences import split_sentences
from simcrop.report.tokens import Tokenizer, load_tokenizer
from simcrop.train.checkpoint import Checkpoint
from simcrop.train.diagnostics import hidden_words_named
from simcrop.train.pretrain import Pretraining
from simcrop.train.text_states import TextStates

VOLUMES = ("true", "shuffled")


def measure_words(checkpoint: Checkpoint, store: Store) -> tuple[Items, ...]:
    """Return the share of hidden finding words named rightly in every held-out study."""
    config = checkpoint.config
    encoder, tokenizer = TextEncoder(config.text.encoder), load_tokenizer(config.text.encoder)
    studies = list(dict.fromkeys(store.study_of(volume) for volume in store.volume_ids("test")))
    reports = {study: store.report(study) for study in studies}
    texts = TextStates(reports, config, tokenizer, encoder, store.folder / "text")
    held_out = StudyDataset(
        store,
        studies,
        config.contract(),
        lambda study, epoch: texts.sample(study, epoch, {}),
        seed=config.seed,
    )
    module = Pretraining(
        config, checkpoint.simcrop, encoder, checkpoint.vocabulary, tokenizer.unk_token_id
    ).eval()
    shares: dict[str, list[np.ndarray]] = {name: [] for name in VOLUMES}
    size = config.optimizer.batch_size
    for first in range(0, len(studies), size):
        rows = range(first, min(first + size, len(studies)))
        batch = collate([held_out[0, row] for row in rows])
        for name, values in _shares(module, batch, reports, tokenizer).items():
            shares[name].append(values)
    patients = tuple(str(store.reports.at[study, "patient_id"]) for study in studies)
    return tuple(
        Items("", f"words_{name}", tuple(studies), patients, ("hidden words",),
              np.concatenate(values)[:, None])
        for name, values in shares.items()
        if values
    )  # fmt: skip


@torch.inference_mode()
def _shares(
    module: Pretraining, batch: Batch, reports: dict[str, Report], tokenizer: Tokenizer
) -> dict[str, np.ndarray]:
    """Return each study's share of right words by volume; nan where none is hidden."""
    is_counted = batch.is_masked & batch.report_is_valid
    for row, study in enumerate(batch.study_ids):
        is_finding = words_of_findings(reports[study], tokenizer)
        is_counted[row, : len(is_finding)] &= torch.from_numpy(is_finding)
        is_counted[row, len(is_finding) :] = False
    study_of_word = is_counted.nonzero()[:, 0]
    counts = is_counted.sum(dim=1)
    named = hidden_words_named(module, batch, is_counted)
    return {
        name: (torch.bincount(study_of_word, named[name].double(), len(batch)) / counts).numpy()
        for name in VOLUMES
        if name in named
    }


def words_of_findings(report: Report, tokenizer: Tokenizer) -> np.ndarray:
    """Return which pieces of a whole report stand in a sentence that states something.

    The first piece is [CLS]; [SEP] at the end is left out.
    """
    findings = list(report.sentences) or split_sentences(report.findings)
    sentences = [*findings, *split_sentences(report.impression)]
    if not sentences:
        return np.zeros(0, dtype=bool)
    pieces = tokenizer([clean(text) for text in sentences], add_special_tokens=False)["input_ids"]
    states = [not is_normal_statement(text) for text in sentences]
    return np.concatenate([[False], np.repeat(states, [*map(len, pieces)])])
