"""What each setting of the recommended recipe is worth: one changed at a time, on phantoms.

    simcrop phantom -o ARCHIVE --patients 4500 --seed 5012
    simcrop prepare -i ARCHIVE -o STORE --recipe tiny --val-fraction 0.05 --test-fraction 0.1
    python benchmarks/ablations.py STORE -o ablations [--seeds 1 2] [--updates 300] [--rows base]

Rows that begin with `all terms` train the whole method, the others the alignment alone. A row that
is there is not made again, and several processes, each with seeds or rows of its own, may share
the folder. Writes ablations.csv and ablations.md of the rows with as many updates. For searching:
the phantoms are not those of `simcrop benchmark`.
"""

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from phantom_run import POINT, point_of

from simcrop.benchmark.smaller_store import SmallerStore
from simcrop.benchmark.variants import SELECTED_ALONE, VARIANTS
from simcrop.config import override
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder

ALIGNMENT, SMALL, ALL_TERMS = "whole", "small_patches", "recommended"


class Row(NamedTuple):
    """A variant of the benchmark with settings changed, perhaps from another's encoder on."""

    says: str
    settings: tuple[str, ...] = ()
    variant: str = ALIGNMENT
    first: str | None = None


_LONG = ("text.context=report", "text.max_words=40")  # of 61 on average
ROWS = {
    "base": Row("alignment alone, as recommended"),
    "embedding": Row("patches embedded by one linear map", ("vision_encoder.embedding=linear",)),
    "standardise": Row("nothing usual taken away", ("alignment.standardise=false",)),
    "reach_1": Row("tokens see their neighbours", ("alignment.reach=1",)),
    "reach_all": Row("tokens see all tokens", ("alignment.reach=null",)),
    "k_fixed": Row("K = 3 from the start", ("alignment.top_k_start=null",)),
    "k_1": Row("K falls to 1", ("alignment.top_k=1",)),
    "k_8": Row("K falls to 8", ("alignment.top_k=8",)),
    "selected": Row("a score is of the K patches alone", (SELECTED_ALONE,)),
    "whole_quarter": Row("a quarter of it of the whole", ("alignment.whole_share=0.25",)),
    "temperature_low": Row("temperature 0.05", ("alignment.temperature=0.05",)),
    "temperature_high": Row("temperature 0.2", ("alignment.temperature=0.2",)),
    "weights": Row("all sentences weigh alike", ("alignment.sentence_weights=equal",)),
    "candidates": Row("air may be selected", ("alignment.candidates=all",)),
    "duplicates": Row("equal sentences are positives", ("alignment.duplicates=positives",)),
    "masked_pass": Row("aligned on the visible quarter", ("alignment.volume_pass=masked",)),
    "every_4": Row("unmasked in every fourth update", ("alignment.pass_every=4",)),
    "lighter": Row("half of the patches hidden", ("alignment.pass_ratio=0.5",)),
    "context": Row("sentences encoded within the report", ("text.context=report",)),
    "windows": Row("and in windows of 40 word pieces", (*_LONG, "text.long_reports=window")),
    "truncated": Row("and cut at 40 word pieces", (*_LONG, "text.long_reports=truncate")),
    "contrast": Row("and the contrast of wholes", ("terms.instance_contrast=true",)),
    "contrast_t02": Row(
        "the contrast of wholes and temperature 0.2",
        ("terms.instance_contrast=true", "alignment.temperature=0.2"),
    ),
    "flips": Row("left-right flips, words left", ("augmentation.flip_probability=[0.5,0,0]",)),
    "flips_swapped": Row(
        "left-right flips, words swapped",
        ("augmentation.flip_probability=[0.5,0,0]", "augmentation.swap_sides=true"),
    ),
    "patch_small": Row("patches of 6 x 6 x 6 voxels", variant=SMALL),
    "patch_small_k_24": Row("and K falls to 24", ("alignment.top_k=24",), SMALL),
    "patch_small_whole": Row(
        "and half of a score is that of the volume's mean", ("alignment.whole_share=0.5",), SMALL
    ),
    "patch_small_depth_6": Row("and six blocks", ("vision_encoder.depth=6",), SMALL),
    "patch_large": Row(
        "patches of 12 x 12 x 12 voxels",
        ("volume.patch_shape=[12,12,12]", "vision_encoder.cell_shape=[2,2,2]",
         "alignment.top_k_start=60"),
    ),
    "depth_1": Row("one block", ("vision_encoder.depth=1",)),
    "depth_6": Row("six blocks", ("vision_encoder.depth=6",)),
    "depth_12": Row("twelve blocks", ("vision_encoder.depth=12",)),
    "init": Row("from the encoder of masked volumes", first="masked_volume"),
    "all": Row("all terms, as recommended", variant=ALL_TERMS),
    "all_no_fusion": Row("all terms but fusion", ("terms.fusion=false",), ALL_TERMS),
    "all_weight_4": Row("all terms, alignment times 4", ("terms.alignment_weight=4",), ALL_TERMS),
    "all_within": Row(
        "all terms, negatives of the report",
        ("alignment.negatives=within_report", SELECTED_ALONE),
        ALL_TERMS,
    ),
    "all_batch": Row(
        "all terms, negatives of the batch",
        ("alignment.negatives=batch", SELECTED_ALONE),
        ALL_TERMS,
    ),
}  # fmt: skip


def measure(store: Path, folder: Path, name: str, seed: int, updates: int) -> dict:
    """Return the figures of a row with a seed, trained where it is missing."""
    row, whole = ROWS[name], SmallerStore(store)

    def run_of(trained: str) -> RunFolder:
        return RunFolder(folder / f"{trained}_updates{updates}_seed{seed}")

    config = override(VARIANTS[row.variant].config(seed, updates), [*row.settings])
    if row.first is not None:
        before = run_of(row.first)
        if not before.checkpoint.exists():
            first = VARIANTS[row.first].config(seed, updates)
            pretrain(first, whole, before, resume=before.config.exists())
        config = override(config, [f"vision_encoder.init={before.checkpoint}"])
    return point_of(config, whole, run_of(name), row=name, seed=seed)


def markdown(table: pd.DataFrame) -> str:
    """Return the mean over seeds of every row, with the seeds' own zero-shot and hits."""
    lines = [
        "| changed (seeds) | zero-shot (each seed) | probe, 1 %: mean, largest | hit (other "
        "patient; chance) (each seed) | patch AUROC | lung findings, no place named (position "
        "alone) | hidden words (other patient) | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in (name for name in ROWS if name in set(table["row"])):
        of = table[table["row"] == name]
        mean = of.mean(numeric_only=True)
        each = {
            figure: ", ".join(f"{v:.3f}" for v in of[figure]) for figure in ("zero_shot", "hit")
        }
        words = " ".join(
            form.format(mean[one])
            for one, form in {"words_true": "{:.3f}", "words_shuffled": "({:.3f})"}.items()
            if mean.get(one, math.nan) > 0
        )
        lines.append(
            f"| {ROWS[name].says} ({len(of)}) | {mean['zero_shot']:.3f} ({each['zero_shot']}) | "
            f"{mean['probe']:.3f}, {mean['probe_max']:.3f} | {mean['hit']:.3f} "
            f"({mean['hit_swapped']:.3f}; {mean['chance']:.3f}) ({each['hit']}) | "
            f"{mean['patch_auroc']:.3f} | {mean['lung unplaced_auroc']:.3f} "
            f"({mean['lung unplaced_auroc_position']:.3f}) | {words} | {mean['cpu_seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the rows that are missing, then the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=[*ROWS])
    wanted = parser.parse_args(arguments)
    torch.set_num_threads(1)
    wanted.output.mkdir(parents=True, exist_ok=True)
    for seed in wanted.seeds:
        for name in wanted.rows:
            print(measure(wanted.store, wanted.output, name, seed, wanted.updates), flush=True)
    made = wanted.output.glob(f"*_updates{wanted.updates}_seed*/{POINT}")
    found = [json.loads(path.read_text()) for path in sorted(made)]
    table = pd.DataFrame(found).sort_values(["row", "seed"])
    table.to_csv(wanted.output / "ablations.csv", index=False)
    (wanted.output / "ablations.md").write_text(markdown(table))


if __name__ == "__main__":
    main()
