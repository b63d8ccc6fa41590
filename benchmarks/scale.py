"""How zero-shot and grounding move with studies, updates and width: curves, and what they promise.

    python benchmarks/scale.py STORE -o scale [--seed 1] [--updates 300]

Alignment alone, `tiny_recommended`, on the first so many training studies of a store of phantoms,
such as that of `simcrop benchmark`; measured on its test studies. One point is one run; a point
that is there is not made again. Writes scale.csv and scale.png.

Along the axis of studies every run has as many updates, so that few studies are seen often.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from simcrop.benchmark.smaller_store import SmallerStore
from simcrop.benchmark.variants import VARIANTS
from simcrop.config import override
from simcrop.data.store import Store
from simcrop.evaluate.classification import mean_auroc
from simcrop.evaluate.figures import COLORS, new_figure
from simcrop.evaluate.grounding import evaluate_grounding
from simcrop.train.features import embed_store
from simcrop.train.grounding import ground_store
from simcrop.train.pretrained import load
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder
from simcrop.train.zero_shot import zero_shot_scores_of

STUDIES = (250, 500, 1000, 2000, 4000, 8000)
UPDATES = (75, 150, 300, 600)
WIDTHS = (32, 64, 128)
FIGURES = {"zero_shot": "zero-shot AUROC", "hit": "hit", "hit_swapped": "other patient"}


def measure(store: Path, folder: Path, studies: int, updates: int, width: int, seed: int) -> dict:
    """Train one point and return its figures."""
    config = override(VARIANTS["per_image"].config(seed, updates), [f"vision_encoder.dim={width}"])
    start = time.process_time()
    few = SmallerStore(store, train=studies)
    run = RunFolder(folder / f"studies{studies}_updates{updates}_width{width}_seed{seed}")
    pretrain(config, few, run, resume=run.config.exists())
    seconds = time.process_time() - start
    encoder = load(run.folder)
    held_out = embed_store(encoder, few, splits=("test",), with_patches=True)
    _, scores, labels = zero_shot_scores_of(encoder, few, held_out)
    grounded = evaluate_grounding(
        ground_store(encoder, few, held_out), top_k=config.alignment.top_k, num_resamples=100
    )
    return {
        "studies": studies,
        "updates": updates,
        "width": width,
        "seed": seed,
        "zero_shot": mean_auroc(scores, labels).value,
        "hit": grounded.mean.hit.value,
        "hit_swapped": grounded.mean.swapped_hit.value,
        "patch_auroc": grounded.mean.patch_auroc.value,
        "cpu_seconds": round(seconds, 1),
    }


def points(most: int, updates: int) -> list[tuple[int, int, int]]:
    """Return studies, updates and width of every run: three axes through one centre."""
    middle = max(n for n in STUDIES if n <= most)
    by_studies = [(n, updates, 64) for n in STUDIES if n <= most]
    by_updates = [(middle, n, 64) for n in UPDATES]
    by_width = [(middle, updates, n) for n in WIDTHS]
    return list(dict.fromkeys([*by_studies, *by_updates, *by_width]))


def draw(table: pd.DataFrame, updates: int, path: Path) -> None:
    """Draw one panel per axis."""
    middle = {"studies": table["studies"].max(), "updates": updates, "width": 64}
    figure = new_figure(10, 3)
    for axes, axis in zip(figure.subplots(1, 3, sharey=True), middle, strict=True):
        others = [name for name in middle if name != axis]
        rows = table[(table[others] == [middle[name] for name in others]).all(axis=1)]
        rows = rows.sort_values(axis)
        for color, (name, label) in zip(COLORS, FIGURES.items(), strict=False):
            axes.plot(rows[axis], rows[name], "o-", color=color, label=label)
        axes.set_xscale("log", base=2)
        axes.set_xticks(rows[axis], rows[axis].astype(str))
        axes.set_xlabel({"studies": "training studies"}.get(axis, axis))
        axes.grid(alpha=0.2)
    figure.axes[0].legend(fontsize=8)
    figure.savefig(path, dpi=150, bbox_inches="tight")


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the points that are missing, then table and picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args(arguments)
    torch.set_num_threads(1)
    wanted.output.mkdir(parents=True, exist_ok=True)
    path = wanted.output / "scale.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    keys = ("studies", "updates", "width", "seed")
    for point in points(len(Store(wanted.store).volume_ids("train")), wanted.updates):
        if (*point, wanted.seed) in [tuple(row[key] for key in keys) for row in rows]:
            continue
        rows.append(measure(wanted.store, wanted.output, *point, wanted.seed))
        pd.DataFrame(rows).to_csv(path, index=False)
        print(rows[-1], flush=True)
    draw(pd.DataFrame(rows), wanted.updates, wanted.output / "scale.png")


if __name__ == "__main__":
    main()
