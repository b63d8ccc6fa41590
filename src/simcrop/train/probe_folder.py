"""The result folder of `simcrop probe`: tables, curves and the scores of every test volume."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simcrop.data.store import Store
from simcrop.evaluate.classification_figures import (
    EfficiencyPoint,
    label_efficiency,
    precision_recall_curves,
    reliability_diagrams,
    roc_curves,
)
from simcrop.evaluate.figures import auroc_dots
from simcrop.evaluate.intervals import (
    LabelIntervals,
    auroc_over_seeds,
)
from simcrop.evaluate.items import Items
from simcrop.evaluate.results import SELECTED_ON_TEST, Drawing, NamedSet, Result
from simcrop.evaluate.tables import (
    Table,
    auroc_table,
    confusion_table,
    format_interval,
    scorecard_table,
)
from simcrop.train.checkpoint import versions
from simcrop.train.probe import ProbePlan, ProbeResult

Probes = Mapping[str, Sequence[ProbeResult]]  # of every encoder, the largest fraction first


@dataclass(frozen=True, eq=False)
class _Fraction:
    """The runs of one encoder and fraction, which differ by their seeds, and their mean AUROC."""

    runs: list[ProbeResult]
    auroc: LabelIntervals

    @property
    def deviation(self) -> float:
        """Of the seeds; nan for one."""
        values = [run.auroc.mean.value for run in self.runs]
        return float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")


def probe_result(
    probes: Probes,
    plan: ProbePlan,
    store: Store,
    *,
    feature: str,
    test_store: Store | None = None,
    command: str = "probe",
) -> Result:
    """Return all that is written about some encoders on the same test volumes.

    Args:
        probes: by the name of the encoder; the first is set beside the others.
        plan: what was fitted.
        store: that was learned from.
        feature: that stood for a volume.
        test_store: that was tested on, if it is another.
        command: that was run.
    """
    firsts = {name: results[0] for name, results in probes.items()}
    fractions = {name: _by_fraction(results) for name, results in probes.items()}
    opened = next(iter(firsts.values())).opened
    tested = test_store or store
    figures = {
        "encoders": {name: first.to_dict() for name, first in firsts.items()},
        "label_efficiency": {
            name: [_fraction_dict(one) for one in ones] for name, ones in fractions.items()
        },
        **_differences(firsts, opened.head.label_names),
    }
    sets = {"test": NamedSet.of(opened.volume_ids)}
    return Result(
        command=command,
        figures=figures,
        sets=sets | {name: NamedSet.of(store.volume_ids(name)) for name in ("train", "val")},
        contract_hash=store.contract.hash,
        seeds=plan.seeds,
        versions=versions(),
        settings={
            **vars(plan), "feature": feature, "split": store.split_name,
            "store": store.location, "test_store": tested.location,
        },
        note=SELECTED_ON_TEST if store.selected_on_test and test_store is None else "",
        items=tuple(_items(probes)),
        tables=_tables(firsts, fractions),
        drawings=_drawings(firsts, fractions),
    )  # fmt: skip


def _by_fraction(results: Sequence[ProbeResult]) -> list[_Fraction]:
    fractions = dict.fromkeys(result.fraction for result in results)
    groups = [[r for r in results if r.fraction == fraction] for fraction in fractions]
    return [
        _Fraction(runs, runs[0].auroc if len(runs) == 1 else _over_seeds(runs)) for runs in groups
    ]


def _over_seeds(runs: Sequence[ProbeResult], minus: Sequence[ProbeResult] = ()) -> LabelIntervals:
    return auroc_over_seeds(
        [run.scores for run in runs], runs[0].labels, runs[0].opened.patient_ids,
        minus=[run.scores for run in minus],
    )  # fmt: skip


def _fraction_dict(one: _Fraction) -> dict[str, object]:
    return {
        "fraction": one.runs[0].fraction,
        "num_train_patients": one.runs[0].num_train_patients,
        "mean_auroc": one.auroc.mean.to_dict(),
        "of_seeds": {str(run.seed): run.auroc.mean.value for run in one.runs},
        "seed_deviation": one.deviation,
    }


def _differences(
    firsts: Mapping[str, ProbeResult], label_names: Sequence[str]
) -> dict[str, object]:
    """Return the first encoder minus each other, paired; nothing for one encoder."""
    (_, first), *others = firsts.items()
    found: dict[str, object] = {
        name: _over_seeds([first], [other]).to_dict(label_names) for name, other in others
    }
    return {"difference": found} if found else {}


def _items(probes: Probes) -> list[Items]:
    """Return the scores of every run; the first of an encoder bears the encoder's name alone."""
    return [
        Items(
            name if result is results[0]
            else f"{name}, {100 * result.fraction:g} % of patients, seed {result.seed}",
            "auroc", result.opened.volume_ids, result.opened.patient_ids, result.label_names,
            result.scores, result.labels,
        )
        for name, results in probes.items()
        for result in results
    ]  # fmt: skip


def _tables(
    firsts: Mapping[str, ProbeResult], fractions: Mapping[str, list[_Fraction]]
) -> dict[str, Table]:
    first = next(iter(firsts.values()))
    aurocs = {name: one.auroc for name, one in firsts.items()}
    columns = aurocs | {
        f"{next(iter(firsts))} minus {name}": _over_seeds([first], [other])
        for name, other in list(firsts.items())[1:]
    }
    tables = {
        f"AUROC on {first.card.num_studies:,} test volumes of {first.card.num_patients:,} "
        f"patients, {first.num_train_patients:,} patients to learn from.": auroc_table(
            first.label_names, columns
        )
    }
    for name, one in firsts.items():
        tables[
            f"{name}: every figure; average precision has its chance level under positive, "
            "thresholds and temperature come from validation."
        ] = scorecard_table(one.card)
        if one.card.classes is not None:
            classes = one.card.classes
            tables[
                f"{name}: accuracy {format_interval(classes.accuracy)}, macro F1 "
                f"{format_interval(classes.macro_f1)}; test volumes by class."
            ] = confusion_table(one.card)
    if any(len(ones) > 1 or len(ones[0].runs) > 1 for ones in fractions.values()):
        tables["Mean AUROC by labels used: mean over seeds, and their deviation."] = (
            _efficiency_table(fractions)
        )
    if first.replay is not None:
        tables[
            "Replayed selection: what choosing on the test volumes would have reported. These are "
            "no results; the honest ones are above."
        ] = _replay_table(fractions)
    return tables


def _efficiency_table(fractions: Mapping[str, list[_Fraction]]) -> Table:
    names, num_seeds = [*fractions], len(next(iter(fractions.values()))[0].runs)
    rows = []
    for ones in zip(*fractions.values(), strict=True):
        first = ones[0].runs[0]
        cells = [f"{100 * first.fraction:g} %", f"{first.num_train_patients:,}"]
        for one in ones:
            deviation = "-" if np.isnan(one.deviation) else f"{one.deviation:.3f}"
            cells += [format_interval(one.auroc.mean), deviation]
        cells += [format_interval(_over_seeds(ones[0].runs, o.runs).mean) for o in ones[1:]]
        rows.append(tuple(cells))
    header = [part for name in names for part in (name, f"deviation of {num_seeds} seeds")]
    differences = [f"{names[0]} minus {name}" for name in names[1:]]
    return Table(("patients", "number", *header, *differences), tuple(rows))


def _replay_table(fractions: Mapping[str, list[_Fraction]]) -> Table:
    header = (
        "encoder and patients", "seed", "candidates", "validation takes", "mean AUROC",
        "test would take", "mean AUROC then", "inflation", "mean F1", "mean F1 then",
    )  # fmt: skip
    rows = []
    for name, ones in fractions.items():
        for result in (run for one in ones for run in one.runs):
            replay = result.replay
            assert replay is not None
            rows.append((
                f"{name}, {100 * result.fraction:g} %", str(result.seed),
                str(replay.num_candidates), replay.choice, f"{replay.auroc:.3f}",
                replay.test_choice, f"{replay.test_auroc:.3f}", format_interval(replay.inflation),
                f"{replay.f1:.3f}", f"{replay.test_f1:.3f}",
            ))  # fmt: skip
    return Table(header, tuple(rows))


def _drawings(
    firsts: Mapping[str, ProbeResult], fractions: Mapping[str, list[_Fraction]]
) -> dict[str, Drawing]:
    (name, first), *_ = firsts.items()
    names, scores, labels = first.label_names, first.scores, first.labels
    patients = first.opened.patient_ids
    aurocs = {encoder: one.auroc for encoder, one in firsts.items()}
    drawings = {
        "auroc": Drawing(auroc_dots(names, aurocs), "AUROC of every label and encoder."),
        "roc": Drawing(
            roc_curves(scores, labels, names, patients),
            f"ROC curves of {name}, with 95 % bands over patients; dotted: chance. Above each: "
            "AUROC, positive and all test volumes.",
        ),
        "precision_recall": Drawing(
            precision_recall_curves(scores, labels, names, patients),
            f"Precision over recall of {name}, with 95 % bands over patients; dotted: the "
            "prevalence, which is chance. Above each: average precision.",
        ),
        "reliability": Drawing(
            reliability_diagrams(scores, labels, names, first.card.points.temperatures),
            f"Does a probability of {name} mean what it says? The area of a dot is the number of "
            "test volumes; the temperature is that of validation.",
        ),
    }
    if any(len(ones) > 1 for ones in fractions.values()):
        points = {
            encoder: [
                EfficiencyPoint(
                    one.runs[0].num_train_patients,
                    one.auroc.mean,
                    tuple(run.auroc.mean.value for run in one.runs),
                )
                for one in ones
            ]
            for encoder, ones in fractions.items()
        }
        drawings["label_efficiency"] = Drawing(
            label_efficiency(points),
            "Mean AUROC by the number of labelled patients: dots are means over seeds with 95 % "
            "intervals over test patients, dashes the single seeds.",
        )
    return drawings
