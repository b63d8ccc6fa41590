"""The page of `simcrop demo`: what was learned, how well, where sentences look, what it means."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from matplotlib.figure import Figure

from simcrop.config import Config
from simcrop.data.contract import Contract
from simcrop.evaluate.classification_figures import roc_curves
from simcrop.evaluate.figures import auroc_dots
from simcrop.evaluate.grounding import GroundingResult
from simcrop.evaluate.intervals import LabelIntervals
from simcrop.evaluate.tables import Table, auroc_table, format_interval, grounding_table
from simcrop.train.probe import ProbeResult
from simcrop.view.report import (
    Block,
    CaptionedTable,
    Card,
    Details,
    Picture,
    Section,
    write_report,
)


@dataclass(frozen=True, eq=False)
class EncoderResults:
    """What one encoder is worth on held-out patients; None where it knows no sentences."""

    probes: Mapping[float, ProbeResult]
    words: "WordResults | None"


@dataclass(frozen=True, eq=False)
class WordResults:
    """What an encoder makes of sentences: findings from prompts, and where sentences look."""

    zero_shot: LabelIntervals
    grounding: GroundingResult


@dataclass(frozen=True, eq=False)
class GroundedPicture:
    """A sentence of a held-out study, its map and its true mask."""

    label: str
    sentence: str
    figure: Figure


@dataclass(frozen=True, eq=False)
class DemoResults:
    """Everything that the page shows; encoders in the order of the columns."""

    patients: int
    num_test: int
    encoders: Mapping[str, EncoderResults]
    zero_shot_labels: tuple[str, ...]
    curves: Mapping[str, Figure]
    pictures: list[GroundedPicture]
    configs: Mapping[str, Config]
    contract: Contract
    seconds: Mapping[str, float]
    versions: Mapping[str, str]
    maps_folder: Path


def summary_table(results: DemoResults) -> str:
    """Return the key figures for a terminal."""
    return _summary(results).plain()


def write_demo_report(path: Path, results: DemoResults) -> Path:
    """Write the page and return its path."""
    minutes = sum(results.seconds.values()) / 60
    return write_report(
        path,
        title="SimCroP on synthetic patients",
        subtitle=f"{results.patients:,} phantoms, {results.num_test} of them held out; "
        f"the whole run took {minutes:.1f} minutes.",
        cards=_cards(results),
        sections=[
            _overview(results),
            _maps(results),
            _grounding(results),
            _probes(results),
            _curves(results),
            _settings(results),
        ],
    )


def _with_words(results: DemoResults) -> dict[str, WordResults]:
    """Return the encoders that know sentences; the last is the recommended one."""
    encoders = results.encoders.items()
    return {name: one.words for name, one in encoders if one.words is not None}


def _summary(results: DemoResults) -> Table:
    def row(name: str, one: EncoderResults) -> tuple[str, ...]:
        hit = swapped = words = "-"
        if one.words is not None:
            hit = format_interval(one.words.grounding.mean.hit, digits=2)
            swapped = f"{one.words.grounding.mean.swapped_hit.value:.2f}"
            words = format_interval(one.words.zero_shot.mean, digits=2)
        probes = [format_interval(p.auroc.mean, digits=2) for p in one.probes.values()]
        return name, *probes, words, hit, swapped

    shares = [f"probe, {fraction:.0%} labels" for fraction in _fractions(results)]
    header = ("encoder", *shares, "zero-shot", "pointing hit", "hit, other patient")
    return Table(header, tuple(row(name, one) for name, one in results.encoders.items()))


def _fractions(results: DemoResults) -> list[float]:
    return [*next(iter(results.encoders.values())).probes]


def _cards(results: DemoResults) -> list[Card]:
    name, words = [*_with_words(results).items()][-1]
    untrained = next(one for one in results.encoders.values() if one.words is None)
    whole = _fractions(results)[0]
    probe = results.encoders[name].probes[whole].auroc.mean
    control = untrained.probes[whole].auroc.mean
    grounding = words.grounding.mean
    return [
        Card(
            "linear probe, mean AUROC",
            f"{probe.value:.2f}",
            f"95 % interval {probe.low:.2f} to {probe.high:.2f}; untrained {control.value:.2f}",
        ),
        Card(
            "zero-shot, mean AUROC",
            f"{words.zero_shot.mean.value:.2f}",
            "from sentences alone, no label seen; chance 0.50",
        ),
        Card(
            "pointing hit",
            f"{grounding.hit.value:.2f}",
            f"same sentences on another patient {grounding.swapped_hit.value:.2f}; "
            f"chance {grounding.chance.value:.2f}",
        ),
    ]


def _overview(results: DemoResults) -> Section:
    return Section(
        "What was compared",
        [
            "Every patient is a synthetic chest with findings whose voxels are known, and a "
            "report that mentions them in varied words. Two recipes were pre-trained on the "
            "same patients, without labels: tiny, the paper's form at a small size, and "
            "tiny_recommended, the same network with our recommendations for the alignment. "
            "The control is the same network untrained.",
            CaptionedTable(
                _summary(results),
                "Held-out patients, with 95 % intervals over patients. The probe is a linear "
                "classifier on frozen features; zero-shot compares a positive with a negative "
                "sentence; a pointing hit means that the most similar body patch lies in the "
                "finding. A hit with another patient's volume shows what places alone explain.",
            ),
            "How to read it: a falling alignment loss is no evidence that sentences find their "
            "findings. The paper's form can lower its loss by tying sentences to places, "
            "without looking at the image; only figures that fall on another patient's volume "
            "show that it looks. Docs: docs/explanation/differences-from-the-paper.md.",
        ],
    )


def _maps(results: DemoResults) -> Section:
    blocks: list[Block] = [
        "For every kind of finding the first held-out sentence in the table, good or bad: "
        "nothing was picked. The slices run through the true finding. Colour is the similarity "
        "of the sentence with each patch of 66 x 66 x 48 mm, the solid outline the true "
        "finding, the dotted outline the patches that the sentence selects. Radiological "
        "view: the patient's right is on the left. "
        f"The maps are NIfTI files in {results.maps_folder} and open over the CT beside them.",
    ]
    blocks += [
        Picture(
            one.figure,
            f"{one.label}: {one.sentence}",
            f"CT slices with the similarity map of the sentence: {one.sentence}",
        )
        for one in results.pictures
    ]
    return Section("Where sentences look (tiny_recommended)", blocks)


def _grounding(results: DemoResults) -> Section:
    tables = [
        CaptionedTable(grounding_table(words.grounding), f"{name}, sentences of held-out patients.")
        for name, words in _with_words(results).items()
    ]
    return Section(
        "Grounding, finding by finding",
        [
            "Large findings are learned first. At this size and number of steps small, freely "
            "placed ones (nodules, calcified plaques) are mostly not found; longer training "
            "moves them, see docs/explanation/phantoms.md.",
            *tables,
        ],
    )


def _probes(results: DemoResults) -> Section:
    whole = _fractions(results)[0]
    probes = {name: one.probes[whole] for name, one in results.encoders.items()}
    intervals = {name: probe.auroc for name, probe in probes.items()}
    best = [*_with_words(results)][-1]
    first = probes[best]
    return Section(
        "Linear probe",
        [
            Picture(
                auroc_dots(first.label_names, intervals),
                "AUROC per finding, held-out patients.",
                "Dots with intervals: AUROC per finding for each encoder",
            ),
            CaptionedTable(auroc_table(first.label_names, intervals), "The same as a table."),
            Picture(
                roc_curves(first.scores, first.labels, first.label_names, first.opened.patient_ids),
                f"ROC curves of {best}, with 95 % bands over patients.",
                f"ROC curves of every finding, {best}",
            ),
        ],
    )


def _curves(results: DemoResults) -> Section:
    return Section(
        "Losses",
        [
            "Each term on its own. The alignment losses of the two recipes are different "
            "quantities (other negatives) and cannot be compared.",
            *(
                Picture(figure, f"{name}.", f"Loss curves of {name}, training and validation")
                for name, figure in results.curves.items()
            ),
        ],
    )


def _settings(results: DemoResults) -> Section:
    def as_yaml(values: object) -> str:
        return yaml.safe_dump(values, sort_keys=False)

    return Section(
        "Settings",
        [
            *(
                Details(f"configuration {name}", as_yaml(config.model_dump(mode="json")))
                for name, config in results.configs.items()
            ),
            Details(
                f"preprocessing contract {results.contract.hash}",
                as_yaml(results.contract.to_dict()),
            ),
            Details("seconds of each stage", as_yaml(dict(results.seconds))),
            Details("versions", as_yaml(dict(results.versions))),
        ],
    )
