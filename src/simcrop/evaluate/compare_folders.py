"""`simcrop compare`: result folders of any command side by side, every measure they share."""

from collections.abc import Mapping
from pathlib import Path

from simcrop.errors import DataError, complain
from simcrop.evaluate.compare import Comparison, compare
from simcrop.evaluate.figures import interval_dots
from simcrop.evaluate.intervals import LabelIntervals
from simcrop.evaluate.items import Items
from simcrop.evaluate.results import Drawing, NamedSet, Result
from simcrop.evaluate.tables import Table, format_interval

Folders = Mapping[str, Result]


def name_folders(folders: list[Path]) -> list[str]:
    """Return a name for every folder: its own, or the whole path where two are alike."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def compare_folders(
    folders: Folders,
    *,
    versions: Mapping[str, str],
    model: str | None = None,
    on_common: bool = False,
    seed: int = 0,
) -> Result:
    """Return the comparison of results, one table for every measure that all have.

    Args:
        folders: what `read_result` returned, by name; the first is set against the others.
        versions: `simcrop.train.checkpoint.versions()`.
        model: whose values to take of every folder; the first unless given.
        on_common: compare on the items that all have.
        seed: draws the resamples.

    Raises:
        DataError: if no measure is in all of them, or items differ.
    """
    of_folder = {name: _first_of_measures(result, model) for name, result in folders.items()}
    first = next(iter(of_folder.values()))
    measures = [m for m in first if all(m in one for one in of_folder.values())]
    if not measures:
        having = "; ".join(f"{name}: {', '.join(one) or '-'}" for name, one in of_folder.items())
        raise DataError(
            complain(
                f"the runs share no measure ({having})",
                "one that each has item by item",
                "Compare runs of the same kind; --model names one of several encoders.",
            )
        )
    found = {
        measure: compare(
            {name: one[measure] for name, one in of_folder.items()}, on_common=on_common, seed=seed
        )
        for measure in measures
    }
    notes = {f"{name}: {result.note}" for name, result in folders.items() if result.note}
    return Result(
        command="compare",
        figures={measure: _described(one) for measure, one in found.items()},
        sets={
            f"test of {measure}": NamedSet(one.hash, one.num_items)
            for measure, one in found.items()
        },
        contract_hash=", ".join(dict.fromkeys(one.contract_hash for one in folders.values())),
        seeds=(seed,),
        versions=versions,
        settings={
            "runs": {name: result.command for name, result in folders.items()},
            "models": {name: next(iter(one.values())).model for name, one in of_folder.items()},
            "on_common": on_common,
        },
        note="; ".join(sorted(notes)),
        tables={_caption(one): comparison_table(one) for one in found.values()},
        drawings=_drawings(found),
    )


def _first_of_measures(result: Result, model: str | None) -> dict[str, Items]:
    wanted = [items for items in result.items if model in (None, items.model)]
    return {items.measure: items for items in reversed(wanted)}


def _caption(one: Comparison) -> str:
    first, *others = one.values
    better = "" if one.higher_is_better else " Lower is better."
    delong = (
        " p values are DeLong's, of single labels, not corrected for their number."
        if one.delong
        else ""
    )
    unpaired = (
        f" {one.num_unpaired:,} values that one run lacks are out." if one.num_unpaired else ""
    )
    return (
        f"{one.measure} on {one.num_items:,} items of {one.num_patients:,} patients "
        f"({one.hash}): {first} minus {', '.join(others)}, paired, with 95 % intervals over "
        f"patients; two differ where the interval does not hold 0.{better}{unpaired}{delong}"
    )


def comparison_table(one: Comparison) -> Table:
    """Return one row per label and the mean: every run, and the first minus each other."""
    first, *others = one.values
    header = [one.measure, *one.values]
    for name in others:
        header += [f"{first} minus {name}", *(["p"] if name in one.delong else [])]

    def row(i: int | None) -> tuple[str, ...]:
        def cell(of: LabelIntervals) -> str:
            return format_interval(of.mean if i is None else of.per_label[i])

        cells = ["mean" if i is None else one.names[i], *map(cell, one.values.values())]
        for name in others:
            cells.append(cell(one.differences[name]))
            if name in one.delong:
                cells.append("-" if i is None else f"{one.delong[name][i].p_value:.3g}")
        return tuple(cells)

    return Table(tuple(header), tuple(row(i) for i in (*range(len(one.names)), None)))


def _described(one: Comparison) -> dict[str, object]:
    return {
        "num_items": one.num_items,
        "num_patients": one.num_patients,
        "num_unpaired": one.num_unpaired,
        "higher_is_better": one.higher_is_better,
        "values": {name: of.to_dict(one.names) for name, of in one.values.items()},
        "differences": {name: of.to_dict(one.names) for name, of in one.differences.items()},
        "delong": {
            name: {label: of._asdict() for label, of in zip(one.names, tests, strict=True)}
            for name, tests in one.delong.items()
        },
    }


def _drawings(found: Mapping[str, Comparison]) -> dict[str, Drawing]:
    drawings = {}
    for measure, one in found.items():
        chance = 0.5 if measure == "auroc" else None
        drawings[measure] = Drawing(
            interval_dots(one.names, one.values, measure, reference=chance),
            f"{measure} of every run.",
        )
        if one.differences:
            first = next(iter(one.values))
            named = {f"{first} minus {name}": of for name, of in one.differences.items()}
            drawings[f"{measure}_difference"] = Drawing(
                interval_dots(one.names, named, f"difference of {measure}", reference=0.0),
                "Paired differences; an interval that holds 0 shows none.",
            )
    return drawings
