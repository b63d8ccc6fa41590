"""The page of `simcrop check`: what an archive or a store holds, and what is wrong with it."""

import json
from collections import Counter
from pathlib import Path

import numpy as np

from simcrop.data.check import Checked, Look
from simcrop.data.faults import FAULTS
from simcrop.evaluate.archive_figures import hu_histograms, mosaic, size_histograms
from simcrop.evaluate.tables import Table
from simcrop.report.negation import is_normal_statement
from simcrop.report.sentences import sentence_key
from simcrop.view.report import (
    Block,
    CaptionedTable,
    Card,
    Details,
    Picture,
    Section,
    write_report,
)

MAX_TILES = 60
_MOST_FREQUENT = 15


def write_check(checked: Checked, folder: Path) -> Path:
    """Write `check.html` into a folder and return its path. No patient is named in it."""
    sections = [_refusals(checked), _looks(checked), _sizes(checked), _reports(checked),
                _labels(checked)]  # fmt: skip
    contract = json.dumps(checked.contract.to_dict(), indent=2)
    sections.append(
        Section("Contract", [Details(f"The preprocessing, {checked.contract.hash}", contract)])
    )
    return write_report(
        folder / "check.html",
        title=f"Check of the {checked.what} {checked.folder.name}",
        subtitle="Volumes and studies by their identifiers in the tables; patients are not named.",
        sections=[section for section in sections if section is not None],
        cards=_cards(checked),
    )


def _cards(checked: Checked) -> list[Card]:
    summary = checked.summary()
    shown = ", ".join(f"{count} {name}" for name, count in summary["formats"].items())
    return [
        Card("Usable volumes", f"{len(checked.looks)} of {checked.num_volumes}", shown),
        Card("Studies", str(summary["num_studies"]), f"{summary['num_patients']} patients"),
        Card("Refusals", str(len(checked.refused)), f"{len(checked.kinds)} kinds"),
        Card("Sentences", str(summary["num_sentences"]), "in the findings of usable reports"),
    ]


def _refusals(checked: Checked) -> Section:
    if not checked.refused:
        return Section("Refusals", ["Nothing was refused."])
    first = {}
    for row in checked.refused:
        first.setdefault(row["kind"], row)
    rows = tuple(
        (kind, str(count), FAULTS.get(kind, ""), _name(first[kind]))
        for kind, count in checked.kinds.most_common()
    )
    table = CaptionedTable(
        Table(("kind", "how many", "what it is", "for example"), rows),
        "By kind, most frequent first.",
        is_list=True,
    )
    reasons = "\n\n".join(
        f"{_name(row)} ({row['kind']})\n{row['reason']}" for row in checked.refused
    )
    return Section(
        "Refusals",
        [table, Details(f"All {len(checked.refused)} messages", reasons)],
    )


def _name(row: dict) -> str:
    return str(row["volume_id"] or row["study_id"] or "a table")


def _looks(checked: Checked) -> Section | None:
    looks = _evenly(checked.looks)
    if not looks:
        return None
    shown = f"{len(looks)} of {len(checked.looks)} volumes, evenly chosen" if len(looks) < len(
        checked.looks) else f"All {len(looks)} volumes"  # fmt: skip
    return Section(
        "How they lie",
        [
            f"{shown}: middle axial, coronal and sagittal slice, as radiologists "
            "look: the patient's right on the left. Look for a heart on the left of the picture "
            "(mirrored), a liver on top (upside down), a spine on top of an axial slice (turned).",
            Picture(mosaic(looks), "Letters name the edges: R, L, A, P, S, I.", "mid slices"),
        ],
    )


def _evenly(looks: list[Look]) -> list[Look]:
    rows = np.linspace(0, len(looks) - 1, min(len(looks), MAX_TILES)).round().astype(int)
    return [looks[row] for row in rows]


def _sizes(checked: Checked) -> Section | None:
    if not checked.looks:
        return None
    return Section(
        "Size and brightness",
        [
            Picture(size_histograms(checked.looks), "Voxels and extent as in the files.", "sizes"),
            Picture(
                hu_histograms(checked.looks),
                "HU of the prepared volumes. Two peaks are usual: air and lung, and soft tissue. "
                "The volumes furthest from the median are drawn by name: a shift along the axis "
                "means a wrong rescale, a missing left peak no lungs.",
                "histogram of HU",
            ),
        ],
    )


def _reports(checked: Checked) -> Section | None:
    sentences = [text for texts in checked.sentences.values() for text in texts]
    if not sentences:
        return None
    lengths = np.array([len(text.split()) for text in sentences])
    per_report = np.array([len(texts) for texts in checked.sentences.values()])
    rows = (
        ("reports", str(len(per_report)), "", ""),
        ("sentences per report", *map(str, _quartiles(per_report))),
        ("words per sentence", *map(str, _quartiles(lengths))),
        (
            "normal statements",
            f"{np.mean([is_normal_statement(t) for t in sentences]):.0%}",
            "",
            "",
        ),
    )
    counts = Counter(sentence_key(text) for text in sentences)
    wording = {sentence_key(text): text for text in reversed(sentences)}
    frequent = tuple(
        (wording[key], str(count)) for key, count in counts.most_common(_MOST_FREQUENT)
    )
    blocks: list[Block] = [
        CaptionedTable(
            Table(("", "median", "10 %", "90 %"), rows), "Sentences of the findings.", is_list=True
        ),
        f"{len(counts)} different sentences of {len(sentences)}.",
        CaptionedTable(
            Table(("sentence", "how often"), frequent),
            "The most frequent; equal sentences of two patients are no negatives of each other.",
            is_list=True,
        ),
    ]
    return Section("Reports", blocks)


def _quartiles(values: np.ndarray) -> list[int]:
    return [int(np.quantile(values, share)) for share in (0.5, 0.1, 0.9)]


def _labels(checked: Checked) -> Section | None:
    if checked.labels is None or checked.labels.empty:
        return None
    labels = checked.labels
    splits = labels.index.map(lambda study: checked.split_of.get(study, ""))
    names = [name for name in ("train", "val", "test") if (splits == name).any()]
    rows = [
        (
            str(label),
            str(int(labels[label].sum())),
            f"{labels[label].mean():.1%}",
            *(f"{labels[label][splits == name].mean():.1%}" for name in names),
        )
        for label in labels.columns
    ]
    header = ("label", "positive studies", "share", *names)
    return Section(
        "Labels",
        [CaptionedTable(Table(header, tuple(rows)), f"{len(labels)} studies.", is_list=True)],
    )
