"""What the tests of configuration, training and command line share: small runs of `tiny`."""

import csv
from collections import defaultdict
from pathlib import Path

import torch

from simcrop.config import Config, override
from simcrop.data.samples import Augmentation, Batch, StudyDataset, collate
from simcrop.data.store import Store
from simcrop.model.text_encoder import TextEncoder
from simcrop.recipes import RECIPES
from simcrop.report.tokens import load_tokenizer
from simcrop.train.networks import build_simcrop
from simcrop.train.pretrain import Pretraining
from simcrop.train.run_folder import RunFolder
from simcrop.train.text_states import TextStates

SHORT = (
    "optimizer.length=24",
    "optimizer.warmup=4",
    "optimizer.batch_size=8",
    "trainer.log_steps=1",
    "trainer.checkpoint_steps=10",
)


def tiny(*settings: str, recipe: str = "tiny") -> Config:
    """A recipe with a few updates of a few studies; later settings win."""
    return override(RECIPES[recipe], [*SHORT, *settings])


def text_states(config: Config, store: Store, encoder: TextEncoder, num_studies=24) -> TextStates:
    """The text of the first studies of a store."""
    reports = {study: store.report(study) for study in sorted(store.reports.index)[:num_studies]}
    tokenizer = load_tokenizer("packaged")
    return TextStates(reports, config, tokenizer, encoder, store.folder / "text")


def study_dataset(config: Config, store: Store, texts: TextStates) -> StudyDataset:
    """The studies whose text is given, as a run sees them in training."""
    studies = sorted(texts.texts)
    weights = texts.sentence_weights(studies)
    return StudyDataset(
        store,
        studies,
        config.contract(),
        lambda study, epoch: texts.sample(study, epoch, weights),
        seed=config.seed,
        augmentation=Augmentation(**config.augmentation.model_dump(exclude={"swap_sides"})),
        keep_in_memory=True,
    )


def pretraining(config: Config, encoder: TextEncoder, texts: TextStates, studies) -> Pretraining:
    """The networks and losses of a run, without a trainer."""
    vocabulary = texts.vocabulary(studies)
    torch.manual_seed(config.seed)
    simcrop = build_simcrop(config, text_dim=encoder.dim, vocabulary_size=len(vocabulary))
    return Pretraining(config, simcrop, encoder, vocabulary, texts.tokenizer.unk_token_id)


def batch_of(dataset: StudyDataset, positions, epoch: int = 0) -> Batch:
    """Some studies side by side."""
    return collate([dataset[epoch, position] for position in positions])


def read_metrics(path: Path) -> dict[str, dict[int, float]]:
    """The logged values by name and step."""
    values: dict[str, dict[int, float]] = defaultdict(dict)
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            values[row["name"]][int(row["step"])] = float(row["value"])
    return values


def lasting_rows(run: RunFolder) -> list[str]:
    """The logged values of a run but those that measure time."""
    return [row for row in run.metrics.read_text().splitlines() if ",time/" not in row]
