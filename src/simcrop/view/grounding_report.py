"""The page of `simcrop ground-eval`: figures beside their controls, and sentences good and bad."""

from pathlib import Path

import yaml

from simcrop.evaluate.results import Result
from simcrop.evaluate.tables import format_interval
from simcrop.train.grounding_study import GroundingStudy
from simcrop.view.report import Block, CaptionedTable, Card, Details, Picture, Section, write_report


def write_grounding_report(path: Path, study: GroundingStudy, result: Result) -> Path:
    """Write the page and return its path."""
    examples = {n: d for n, d in result.drawings.items() if n.startswith("example")}
    num_patients = len({one.patient_id for one in study.result.scored})
    return write_report(
        path,
        title="Where sentences look",
        subtitle=f"{study.result.mean.num_sentences:,} sentences with masks of {num_patients:,} "
        f"patients, part {study.part!r}."
        + (f" {result.note.capitalize()}." if result.note else ""),
        cards=_cards(study),
        sections=[
            Section("Figures and controls", _figures(result)),
            Section("Examples, by rank", _examples(examples)),
            Section("Settings", [Details("settings", _as_yaml(result))]),
        ],
    )


def _cards(study: GroundingStudy) -> list[Card]:
    mean = study.result.mean
    blind = {n: mean.maps[n].hit for n in ("position", "position and words") if n in mean.maps}
    cards = [
        Card(
            "pointing hit",
            f"{mean.hit.value:.2f}",
            f"95 % interval {mean.hit.low:.2f} to {mean.hit.high:.2f}; "
            f"chance {mean.chance.value:.2f}",
        ),
        Card(
            "hit minus swapped",
            format_interval(mean.hit_difference, digits=2).partition(" ")[0],
            f"same sentence on another patient {mean.swapped_hit.value:.2f}: only the difference "
            "shows that the volume is read",
        ),
    ]
    if blind:
        cards.append(
            Card(
                "hit without any image",
                f"{max(one.value for one in blind.values()):.2f}",
                "the better of two maps made from training masks: what places alone give",
            )
        )
    return cards


def _figures(result: Result) -> list[Block]:
    hits = result.drawings["hits"]
    tables: list[Block] = []
    for caption, table in result.tables.items():
        tables += [caption, CaptionedTable(table, f"{table.header[0].capitalize()}.")]
    return [
        "A map always has a peak. It is evidence only as far as it beats maps that cannot know: "
        "the same sentence on other patients' volumes, and places learned from masks without any "
        "image.",
        Picture(hits.figure, hits.caption, "Dots with intervals: hits per finding and map"),
        *tables,
    ]


def _examples(examples: dict) -> list[Block]:
    return [
        "The sentences of best, median and worst patch AUROC, of focal and of diffuse findings; "
        "nothing was picked. The slices run through the finding. Colour is the similarity with "
        "each patch, the solid outline the mask, the dotted outline the selected patches. "
        "Radiological view: the patient's right is on the left.",
        *(
            Picture(one.figure, one.caption, f"CT slices with a similarity map. {one.caption}")
            for one in examples.values()
        ),
    ]


def _as_yaml(result: Result) -> str:
    values = {
        "settings": dict(result.settings),
        "sets": {name: f"{one.size} items, hash {one.hash}" for name, one in result.sets.items()},
        "contract_hash": result.contract_hash,
        "seeds": list(result.seeds),
        "versions": dict(result.versions),
    }
    return yaml.safe_dump(values, sort_keys=False)
