"""Tables of figures with their intervals, as markdown, as plain text and as rows for a report."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from simcrop.evaluate.grounded_sentence import OWN
from simcrop.evaluate.grounding import GroundingResult
from simcrop.evaluate.intervals import Interval, LabelIntervals
from simcrop.evaluate.scorecard import Scorecard


@dataclass(frozen=True)
class Table:
    """Cells of text under a header; the first column names the row, the others hold figures.

    Raises:
        ValueError: if a row does not have as many cells as the header.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"row {row} has {len(row)} cells, expected {len(self.header)}")

    def markdown(self) -> str:
        """Return the table in markdown, figures aligned right."""
        rule = (":--", *("--:" for _ in self.header[1:]))
        rows = [[_escaped(cell) for cell in row] for row in (self.header, *self.rows)]
        lines = [rows[0], rule, *rows[1:]]
        return "".join(f"| {' | '.join(line)} |\n" for line in lines)

    def plain(self) -> str:
        """Return the table for a terminal, in columns, figures aligned right."""
        widths = [
            max(len(cell) for cell in column)
            for column in zip(self.header, *self.rows, strict=True)
        ]
        lines = [self.header, tuple("-" * width for width in widths), *self.rows]
        return "".join(
            "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) + "\n"
            for line in lines
        )


def format_interval(interval: Interval, *, digits: int = 3) -> str:
    """Return a figure with its interval, as `0.812 [0.764, 0.855]`; a hyphen where undefined."""
    if math.isnan(interval.value):
        return "-"
    value = f"{interval.value:.{digits}f}"
    if math.isnan(interval.low):
        return value
    return f"{value} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]"


def auroc_table(label_names: Sequence[str], results: Mapping[str, LabelIntervals]) -> Table:
    """Return one row per label and the mean at the end, one column per encoder."""
    columns = [
        [*map(format_interval, result.per_label), format_interval(result.mean)]
        for result in results.values()
    ]
    names = [*label_names, "mean"]
    return Table(("AUROC", *results), tuple(zip(names, *columns, strict=True)))


def scorecard_table(card: Scorecard) -> Table:
    """Return one row per label and the mean: each figure with what it needs beside it."""
    header = (
        "label", "positive", "AUROC", "average precision", "F1", "balanced accuracy",
        "calibration error", "at temperature",
    )  # fmt: skip
    figures = (card.auroc, card.average_precision, card.f1, card.balanced_accuracy)
    errors = (card.calibration_error, card.scaled_calibration_error)
    rows = [
        (
            name,
            f"{card.prevalence[i]:.3f}",
            *(format_interval(figure.per_label[i]) for figure in figures),
            *(f"{error[i]:.3f}" for error in errors),
        )
        for i, name in enumerate(card.label_names)
    ]
    means = [f"{sum(values) / len(values):.3f}" for values in (card.prevalence, *errors)]
    rows.append(
        ("mean", means[0], *(format_interval(figure.mean) for figure in figures), *means[1:])
    )
    return Table(header, tuple(rows))


def confusion_table(card: Scorecard) -> Table:
    """Return studies by true class (rows) and answer (columns), for classes that exclude others.

    Raises:
        ValueError: if the labels may occur together.
    """
    if card.classes is None:
        raise ValueError("labels that may occur together have no confusion matrix")
    names = card.label_names
    counts = [tuple(map(str, row)) for row in card.classes.confusion.tolist()]
    rows = [(name, *row) for name, row in zip(names, counts, strict=True)]
    return Table(("truth", *(f"answer {name}" for name in names)), tuple(rows))


def grounding_table(result: GroundingResult) -> Table:
    """Return one row per label and the mean at the end, each figure beside its control."""
    header = (
        "grounding", "sentences", "chance", "hit", "hit, swapped", "hit minus swapped",
        f"hit@{result.top_k}", "patch AUROC", "patch AUROC, swapped",
    )  # fmt: skip
    cell = partial(format_interval, digits=2)
    rows = tuple(
        (
            row.label,
            str(row.num_sentences),
            f"{row.chance.value:.2f}",
            cell(row.hit),
            f"{row.swapped_hit.value:.2f}",
            cell(row.hit_difference),
            f"{row.maps[OWN].hit_at_k.value:.2f}",
            cell(row.patch_auroc),
            f"{row.swapped_patch_auroc.value:.2f}",
        )
        for row in (*result.rows, result.mean)
    )
    return Table(header, rows)


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
