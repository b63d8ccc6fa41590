"""Pictures of classifiers: ROC and precision-recall with bands, reliability, label efficiency.

One small panel per label, so that eighteen labels stay readable; bands are over patients.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from simcrop.evaluate.calibration import reliability, with_temperature
from simcrop.evaluate.classification import auroc, average_precision
from simcrop.evaluate.curves import precision_band, roc_band
from simcrop.evaluate.figures import COLORS, GREY, new_figure, tidy
from simcrop.evaluate.intervals import Interval, resample_patients

NUM_RESAMPLES = 300  # a band is smooth enough with fewer than an interval needs
_GRID = np.linspace(0, 1, 101)
_NO_CURVE = "one class only"

Scores = Float[np.ndarray, "studies labels"]
Labels = Shaped[np.ndarray, "studies labels"]


def roc_curves(
    scores: Scores, labels: Labels, label_names: Sequence[str], patient_ids: Sequence[str]
) -> Figure:
    """Draw the ROC curve of every label with its 95 % band; the AUROC stands above."""
    weights = resample_patients(patient_ids, num_resamples=NUM_RESAMPLES, seed=0)

    def draw(axes: Axes, i: int) -> None:
        s, y = scores[:, i], labels[:, i]
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
        if not 0 < y.sum() < len(y):
            axes.set_title(f"{label_names[i]}\n{_NO_CURVE}", fontsize=8)
            return
        axes.fill_between(_GRID, *roc_band(s, y, weights, _GRID), color=COLORS[0], alpha=0.2, lw=0)
        false_positive_rate, true_positive_rate, _ = roc_curve(y, s)
        axes.plot(false_positive_rate, true_positive_rate, color=COLORS[0], linewidth=1.5)
        axes.set_title(f"{label_names[i]}\n{auroc(s, y):.2f}, {y.sum()} of {len(y)}", fontsize=8)

    return _panels(len(label_names), draw, "false positive rate", "true positive rate")


def precision_recall_curves(
    scores: Scores, labels: Labels, label_names: Sequence[str], patient_ids: Sequence[str]
) -> Figure:
    """Draw precision over recall of every label with its 95 % band and the prevalence, chance."""
    weights = resample_patients(patient_ids, num_resamples=NUM_RESAMPLES, seed=0)

    def draw(axes: Axes, i: int) -> None:
        s, y = scores[:, i], labels[:, i]
        axes.axhline(y.mean(), color=GREY, linewidth=1, linestyle=":")
        if not y.any():
            axes.set_title(f"{label_names[i]}\nno positive", fontsize=8)
            return
        band = precision_band(s, y, weights, _GRID)
        axes.fill_between(_GRID, *band, color=COLORS[0], alpha=0.2, linewidth=0)
        curve = precision_band(s, y, np.ones((1, len(y))), _GRID)[0]
        axes.plot(_GRID[1:], curve[1:], color=COLORS[0], linewidth=1.5)
        average = average_precision(s, y)
        axes.set_title(f"{label_names[i]}\n{average:.2f}, chance {y.mean():.2f}", fontsize=8)

    return _panels(len(label_names), draw, "recall", "precision")


def reliability_diagrams(
    scores: Scores,
    labels: Labels,
    label_names: Sequence[str],
    temperatures: Float[np.ndarray, " labels"],
) -> Figure:
    """Draw observed over predicted share, as scored and at the validation temperature.

    The area of a dot is the number of studies in its bin.
    """
    both = (("as scored", scores), ("at the temperature", with_temperature(scores, temperatures)))

    def draw(axes: Axes, i: int) -> None:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":")
        for (name, s), color, marker in zip(both, COLORS, "os", strict=False):
            bins = reliability(s[:, i], labels[:, i])
            size = 90 * bins.count / max(1, len(labels)) + 4
            line = ~np.isnan(bins.predicted)
            axes.plot(bins.predicted[line], bins.observed[line], color=color, linewidth=0.8)
            axes.scatter(
                bins.predicted, bins.observed, s=size, color=color, marker=marker, label=name,
                linewidths=0, alpha=0.8,
            )  # fmt: skip
        axes.set_title(f"{label_names[i]}\ntemperature {temperatures[i]:.2f}", fontsize=8)

    figure = _panels(len(label_names), draw, "predicted probability", "observed share")
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return figure


class EfficiencyPoint(NamedTuple):
    """What some labels are worth: mean AUROC over seeds, and the AUROC of every seed."""

    num_patients: int
    mean: Interval
    of_seeds: tuple[float, ...]


def label_efficiency(results: Mapping[str, Sequence[EfficiencyPoint]]) -> Figure:
    """Draw the mean AUROC over the number of labelled patients, one line per encoder."""
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    for (encoder, points), color in zip(results.items(), COLORS, strict=False):
        ordered = sorted(points, key=lambda point: point.num_patients)
        x = np.array([point.num_patients for point in ordered])
        value, low, high = np.array([[p.mean.value, p.mean.low, p.mean.high] for p in ordered]).T
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
        axes.plot(x, value, "o-", color=color, markersize=5, label=encoder)
        for point in ordered:
            if len(point.of_seeds) > 1:
                xs = [point.num_patients] * len(point.of_seeds)
                axes.plot(xs, point.of_seeds, "_", color=color, markersize=9)
    axes.axhline(0.5, color=GREY, linewidth=1, linestyle=":")
    axes.set_xscale("log")
    ticks = sorted({p.num_patients for points in results.values() for p in points})
    axes.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axes.minorticks_off()
    axes.set_xlabel("labelled training patients", fontsize=9)
    axes.set_ylabel("mean AUROC on test", fontsize=9)
    figure.legend(loc="outside upper center", ncols=min(3, len(results)), frameon=False, fontsize=9)
    tidy(axes)
    return figure


def _panels(
    num_labels: int, draw: Callable[[Axes, int], None], x_label: str, y_label: str
) -> Figure:
    """Return a figure of square panels from 0 to 1, one per label."""
    num_columns = min(num_labels, 6 if num_labels > 8 else 4)
    num_rows = -(-num_labels // num_columns)
    figure = new_figure(max(3.2, 1.75 * num_columns + 0.4), 2.1 * num_rows + 0.6)
    grid = figure.subplots(num_rows, num_columns, squeeze=False, sharex=True, sharey=True)
    for i, axes in enumerate(grid.flat):
        if i >= num_labels:
            axes.remove()
            continue
        draw(axes, i)
        axes.set_xlim(-0.03, 1.03)
        axes.set_ylim(-0.03, 1.03)
        axes.set_aspect("equal")
        axes.set_xticks([0, 0.5, 1])
        axes.set_yticks([0, 0.5, 1])
        tidy(axes)
        axes.tick_params(labelsize=7, labelbottom=i + num_columns >= num_labels)
    figure.supxlabel(x_label, fontsize=9)
    figure.supylabel(y_label, fontsize=9)
    return figure
