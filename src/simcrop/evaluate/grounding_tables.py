"""Tables and a picture of grounding: finding by finding, map by map, and what edits did."""

from collections.abc import Mapping, Sequence
from functools import partial

from matplotlib.figure import Figure

from simcrop.evaluate.faithfulness import FaithfulnessRow
from simcrop.evaluate.figures import interval_dots
from simcrop.evaluate.grounded_sentence import OWN
from simcrop.evaluate.grounding import GroundingResult, GroundingRow, MapFigures
from simcrop.evaluate.intervals import LabelIntervals
from simcrop.evaluate.tables import Table, format_interval

_SHARE = partial(format_interval, digits=2)
_MM = partial(format_interval, digits=0)


def findings_table(result: GroundingResult, groups: Mapping[str, GroundingRow]) -> Table:
    """Return the own map's figures: a row per finding, the mean of each group, the mean of all."""
    header = (
        "grounding", "sentences", "chance", "hit", "hit minus swapped", f"hit@{result.top_k}",
        "patch AUROC", "average precision", "Dice", "peak to mask, mm", "depth error, mm",
    )  # fmt: skip
    named = {row.label: row for row in result.rows} | {**groups, result.mean.label: result.mean}
    rows = tuple(
        (
            name,
            str(row.num_sentences),
            f"{row.chance.value:.2f}",
            _SHARE(row.hit),
            _SHARE(row.hit_difference),
            *_cells(row.maps[OWN])[1:],
        )
        for name, row in named.items()
    )
    return Table(header, rows)


def controls_table(result: GroundingResult) -> Table:
    """Return the mean over findings: what the own map has over each control, itself at the end."""
    header = (
        "map", "hit", f"hit@{result.top_k}", "patch AUROC", "average precision", "Dice",
        "peak to mask, mm", "depth error, mm", "own hit minus its hit", "own AUROC minus its",
    )  # fmt: skip
    mean = result.mean
    rows = []
    for name, figures in sorted(mean.maps.items(), key=lambda pair: pair[0] == OWN):
        lead = mean.differences.get(name)
        leads = ("", "") if lead is None else (_SHARE(lead.hit), _SHARE(lead.patch_auroc))
        rows.append((name, *_cells(figures), *leads))
    return Table(header, tuple(rows))


def erasing_table(rows: Sequence[FaithfulnessRow]) -> Table:
    """Return what erasing the finding did to its sentence, beside erasing another region."""
    header = (
        "erased", "sentences", "fall at the finding", "fall at the other region", "difference",
        "volume's score falls more",
    )  # fmt: skip
    names = ("region_drop", "control_drop", "drop_difference")
    return Table(header, tuple(
        (
            row.label,
            str(row.num_erased),
            *(format_interval(row.answers[name]) for name in names),
            _SHARE(row.answers["prefers_region"]),
        )
        for row in rows if row.num_erased
    ))  # fmt: skip


def mirroring_table(rows: Sequence[FaithfulnessRow]) -> Table:
    """Return what mirroring the volume did to peaks, and to sentences that name a side."""
    header = (
        "mirrored", "on one side", "hit", "hit mirrored", "hit where it was", "name a side",
        "own side wins", "wins mirrored", "lead falls",
    )  # fmt: skip
    peaks = ("hit", "mirrored_hit", "stayed_hit")
    sides = ("side_preferred", "mirrored_side_preferred", "side_answers")
    return Table(header, tuple(
        (
            row.label,
            str(row.num_mirrored),
            *(_SHARE(row.answers[name]) for name in peaks),
            str(row.num_sided),
            *(_SHARE(row.answers[name]) for name in sides),
        )
        for row in rows if row.num_mirrored or row.num_sided
    ))  # fmt: skip


def hits_figure(result: GroundingResult) -> Figure:
    """Draw the hits of every finding: own map and controls with intervals, chance in the mean."""
    shown = [name for name in result.mean.maps if name != "random"]
    return interval_dots(
        [f"{row.label} ({row.num_sentences})" for row in result.rows],
        {
            name: LabelIntervals(
                tuple(row.maps[name].hit for row in result.rows), result.mean.maps[name].hit
            )
            for name in shown
        },
        "pointing hit",
        reference=result.mean.chance.value,
        reference_name="chance, mean",
    )


def _cells(figures: MapFigures) -> tuple[str, ...]:
    """Return hit, hit@k, AUROC, average precision, Dice and the two errors."""
    shares = (figures.hit, figures.hit_at_k, figures.patch_auroc, figures.average_precision,
              figures.dice)  # fmt: skip
    return (*map(_SHARE, shares), _MM(figures.distance_mm), _MM(figures.depth_error_mm))
