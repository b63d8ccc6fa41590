"""The key figures at the top of the page of a probe or a fine-tuning."""

import math
from collections.abc import Mapping
from typing import Any

from simcrop.evaluate.results import Result
from simcrop.view.report import Card


def probe_cards(result: Result) -> tuple[Card, ...]:
    """Return mean AUROC of every encoder, average precision and, where asked for, the replay."""
    encoders: Mapping[str, Mapping[str, Any]] = result.figures["encoders"]
    first = next(iter(encoders.values()))
    cards = [
        Card(f"{name}: mean AUROC", _shown(one["auroc"]["mean"]["value"]), _interval(one["auroc"]))
        for name, one in encoders.items()
    ]
    prevalence = list(first["prevalence"].values())
    cards.append(
        Card(
            "mean average precision",
            _shown(first["average_precision"]["mean"]["value"]),
            f"chance, the mean share of positives: {sum(prevalence) / len(prevalence):.2f}",
        )
    )
    if replay := first.get("replay"):
        gain = replay["test_f1"] - replay["f1"]
        cards.append(
            Card(
                "choosing on test would add",
                _shown(replay["inflation"]["value"], "+.3f"),
                f"of mean AUROC, and {_shown(gain, '+.3f')} of mean F1; not in any figure here",
            )
        )
    return tuple(cards)


def _shown(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None or math.isnan(value) else format(value, form)


def _interval(figure: Mapping[str, Any]) -> str:
    mean = figure["mean"]
    if mean["low"] is None:
        return "no interval"
    return f"95 % interval {mean['low']:.3f} to {mean['high']:.3f}, {figure['num_scored']} labels"
