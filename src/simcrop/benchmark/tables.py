"""The benchmark's tables, from what is finished."""

from collections.abc import Mapping

from simcrop.benchmark.columns import (
    ANYWHERE_IN_A_LUNG,
    AWAY,
    CHANCE,
    CLASSIFICATION,
    GROUNDING,
    LUNG,
    MAP_FIGURES,
    OF_FINDINGS,
    RETRIEVAL,
    VOXELS,
    WORDS,
)
from simcrop.benchmark.measures import MAPS, of_map
from simcrop.benchmark.summary import STAGES, Summary
from simcrop.benchmark.variants import VARIANTS
from simcrop.evaluate.intervals import Interval
from simcrop.evaluate.tables import Table, format_interval

_GROUP = "findings that may lie anywhere in a lung"


def tables(summary: Summary, num_cells: int) -> dict[str, Table]:
    """Return every table that has a row, by its caption; `num_cells` are planned."""
    done = sum(map(len, summary.results.values()))
    found = {
        f"Mean AUROC over findings and seeds [95 % interval over patients and seeds]; {done} of "
        f"{num_cells} cells are there": variants_table(summary, CLASSIFICATION)
    }
    for figure, says in MAP_FIGURES.items():
        level = "" if figure in CHANCE else " (chance 0.5)"
        caption = f"Where sentences look, by kind of map: {says}{level}, on body patches"
        found[caption] = variants_table(summary, GROUNDING[figure])
    found |= {
        f"The {_GROUP}: {', '.join(ANYWHERE_IN_A_LUNG)}": variants_table(
            summary, LUNG, ANYWHERE_IN_A_LUNG
        ),
        "Phantoms of another hospital": variants_table(summary, AWAY),
        "The report among the first K of N volumes (chance K / N), and back": variants_table(
            summary, RETRIEVAL
        ),
        "Dice of findings by patches, and of organs by a UNETR on 40 label maps": variants_table(
            summary, VOXELS
        ),
        "Hidden words of findings named rightly, by the volume shown": variants_table(
            summary, WORDS
        ),
        "Differences": claims_table(summary),
    }
    if best := summary.best:
        says = VARIANTS[best].says
        found[f"{says}: by where its sentences look"] = maps_table(summary, best)
        found[f"{says}: finding by finding"] = findings_table(summary, best)
    return {caption: table for caption, table in found.items() if table.rows}


def variants_table(
    summary: Summary, columns: Mapping[str, str], findings: tuple[str, ...] = ()
) -> Table:
    """Return one row per variant that has one of these measures, and what its cells cost."""
    minutes, rows = summary.cpu_minutes(), []
    for name in summary.names:
        figures = [summary.mean(name, measure, findings) for measure in columns]
        if any(figures):
            rows.append(
                (
                    VARIANTS[name].says,
                    str(len(summary.results[name])),
                    *map(_cell, figures),
                    _cost(minutes[name]),
                )
            )
    header = ("variant", "seeds", *columns.values(), "CPU min: train + evaluate (+ UNETR)")
    return Table(header, tuple(rows))


def claims_table(summary: Summary) -> Table:
    """Return one row per difference."""
    rows = [(says, format_interval(one)) for says, one in summary.differences().items()]
    return Table(("difference, paired by seed and patient", "mean [95 % interval]"), tuple(rows))


def findings_table(summary: Summary, variant: str) -> Table:
    """Return one row per finding of a variant: classification from words, and grounding."""
    measures = [one for one in OF_FINDINGS if summary.runs(variant, one)]
    labels = {label for one in measures for label in summary.of_findings(variant, one)}
    groups: dict[str, tuple[str, ...]] = {label: (label,) for label in sorted(labels)}
    groups |= {_GROUP: ANYWHERE_IN_A_LUNG, "all": ()}
    rows = []
    for name, findings in groups.items():
        of = {one: summary.mean(variant, one, findings) for one in measures}
        rows.append((name, *map(_cell, of.values()), _times(of.get("hit"), of.get("chance"))))
    header = ("finding", *(OF_FINDINGS[one] for one in measures), "hit, times chance")
    return Table(header, tuple(rows) if measures else ())


def maps_table(summary: Summary, variant: str) -> Table:
    """Return one row per kind of map: the sentence's own, and those that cannot know."""
    rows = []
    for kind in MAPS:
        figures = [summary.mean(variant, of_map(figure, kind)) for figure in MAP_FIGURES]
        if any(figures):
            rows.append((kind, *map(_cell, figures)))
    if rows:
        levels = (
            _cell(summary.mean(variant, CHANCE[figure])) if figure in CHANCE else "0.5"
            for figure in MAP_FIGURES
        )
        rows.append(("chance", *levels))
    return Table(("map", *MAP_FIGURES.values()), tuple(rows))


def _cost(minutes: Mapping[str, float]) -> str:
    """Return the CPU minutes of the stages; that of the UNETR where one was trained."""
    train, evaluate, segment = (minutes.get(stage, 0.0) for stage in STAGES)
    return f"{train:.1f} + {evaluate:.1f}" + (f" (+ {segment:.1f})" if segment else "")


def _times(figure: Interval | None, chance: Interval | None) -> str:
    """Return how many times chance a figure is."""
    if figure is None or chance is None or not chance.value > 0:
        return "-"
    return f"{figure.value / chance.value:.1f}"


def _cell(interval: Interval | None) -> str:
    return "-" if interval is None else format_interval(interval)
