"""A picture of retrieval: recall over the depth of the list, task by task, above chance."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from simcrop.evaluate.figures import COLORS, GREY, new_figure, tidy
from simcrop.evaluate.retrieval import DEPTHS, Recall


def recall_figure(recalls: Mapping[str, Sequence[Recall]]) -> Figure:
    """Draw one panel per task; a line with intervals per score, dotted chance."""
    tasks = next(iter(recalls.values()))
    figure = new_figure(2.9 * len(tasks), 3.2)
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    places = range(len(DEPTHS))
    for number, (axes, task) in enumerate(zip(panels, tasks, strict=True)):
        for (name, of_score), color in zip(recalls.items(), COLORS, strict=False):
            found = [of_score[number].recall[k] for k in DEPTHS]
            low, high = ([getattr(one, end) for one in found] for end in ("low", "high"))
            axes.fill_between(places, low, high, color=color, alpha=0.15, linewidth=0)
            axes.plot(places, [one.value for one in found], "o-", color=color, markersize=4,
                      label=name if number == 0 else None)  # fmt: skip
        chance = [task.chance[k] for k in DEPTHS]
        axes.plot(places, chance, color=GREY, linewidth=1, linestyle=":",
                  label="random order" if number == 0 else None)  # fmt: skip
        axes.set_xticks(list(places), [str(k) for k in DEPTHS])
        axes.set_title(
            f"{task.query} to {task.candidate}\n{task.num_queries:,} among "
            f"{task.num_candidates:,}", fontsize=9,
        )  # fmt: skip
        axes.set_xlabel("k", fontsize=9)
        tidy(axes)
    panels[0].set_ylim(-0.02, 1.02)
    panels[0].set_ylabel("R@k", fontsize=9)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure
