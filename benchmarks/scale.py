"""How every figure moves with studies, updates and width: curves, and what they promise.

    python benchmarks/scale.py STORE -o scale [--seed 1] [--updates 600] [--only studies]

Alignment alone, `tiny_recommended`, on the first so many training studies of a store of phantoms,
such as that of `simcrop benchmark`; measured on its test studies. One point is one run with its
figures in point.json; a point that is there is not made again, and several processes, each with an
axis of its own (`--only`), may share the folder. Writes scale.csv and scale.png of what is there.

Along the axis of studies every run has as many updates, so that few studies are seen often.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from phantom_run import LABELLED, POINT, point_of

from simcrop.benchmark.smaller_store import SmallerStore
from simcrop.benchmark.variants import VARIANTS
from simcrop.config import override
from simcrop.data.store import Store
from simcrop.evaluate.figures import COLORS, new_figure
from simcrop.train.run_folder import RunFolder

STUDIES = (250, 500, 1000, 2000, 4000, 8000)
UPDATES = (150, 300, 600, 1200)
WIDTHS = (32, 64, 128)
FIGURES = {
    "zero_shot": "zero-shot AUROC",
    "hit": "hit",
    "hit_swapped": "hit, other patient",
    "patch_auroc": "patch AUROC",
    "probe_max": f"probe AUROC, {LABELLED} labelled patients",
}


def measure(store: Path, folder: Path, studies: int, updates: int, width: int, seed: int) -> dict:
    """Return the figures of one point, trained where it is missing."""
    config = override(VARIANTS["whole"].config(seed, updates), [f"vision_encoder.dim={width}"])
    name = f"studies{studies}_updates{updates}_width{width}_seed{seed}"
    few = SmallerStore(store, train=studies)
    return point_of(
        config, few, RunFolder(folder / name),
        studies=studies, updates=updates, width=width, seed=seed,
    )  # fmt: skip


def points(most: int, updates: int) -> dict[str, list[tuple[int, int, int]]]:
    """Return studies, updates and width of every run: three axes through one centre."""
    middle = max(n for n in STUDIES if n <= most)
    return {
        "studies": [(n, updates, 64) for n in STUDIES if n <= most],
        "updates": [(middle, n, 64) for n in UPDATES],
        "width": [(middle, updates, n) for n in WIDTHS],
    }


def draw(table: pd.DataFrame, updates: int, path: Path) -> None:
    """Draw one panel per axis: the mean over seeds, and each run as a point."""
    middle = {"studies": table["studies"].max(), "updates": updates, "width": 64}
    figure = new_figure(10, 3)
    for axes, axis in zip(figure.subplots(1, 3, sharey=True), middle, strict=True):
        others = [name for name in middle if name != axis]
        rows = table[(table[others] == [middle[name] for name in others]).all(axis=1)]
        means = rows.groupby(axis)[list(FIGURES)].mean()
        for color, (name, label) in zip(COLORS, FIGURES.items(), strict=False):
            axes.plot(means.index, means[name], "-", color=color, label=label)
            axes.plot(rows[axis], rows[name], "o", color=color, markersize=4)
        axes.set_xscale("log", base=2)
        axes.set_xticks(means.index, means.index.astype(str))
        axes.minorticks_off()
        axes.set_xlabel({"studies": "training studies"}.get(axis, axis))
        axes.grid(alpha=0.2)
    lines = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        *lines, fontsize=8, ncols=len(FIGURES), loc="upper center", bbox_to_anchor=(0.5, 0)
    )
    figure.savefig(path, dpi=150, bbox_inches="tight")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the points that are missing, then table and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=("studies", "updates", "width"))
    wanted = parser.parse_args(arguments)
    torch.set_num_threads(1)
    wanted.output.mkdir(parents=True, exist_ok=True)
    axes = points(len(Store(wanted.store).volume_ids("train")), wanted.updates)
    chosen = axes.values() if wanted.only is None else [axes[wanted.only]]
    for point in dict.fromkeys(point for axis in chosen for point in axis):
        print(measure(wanted.store, wanted.output, *point, wanted.seed), flush=True)
    found = [json.loads(path.read_text()) for path in sorted(wanted.output.glob(f"*/{POINT}"))]
    table = pd.DataFrame(found).sort_values(["studies", "updates", "width", "seed"])
    table.to_csv(wanted.output / "scale.csv", index=False)
    draw(table, wanted.updates, wanted.output / "scale.png")


if __name__ == "__main__":
    main()
