"""The ablations on phantoms: every row is a possible setting, and the table tells what was run."""

import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import ablations

from simcrop.benchmark.variants import VARIANTS
from simcrop.config import override


@pytest.mark.parametrize("name", ablations.ROWS)
def test_every_row_changes_its_variant_and_nothing_else_of_the_run(name):
    row = ablations.ROWS[name]
    plain = VARIANTS[row.variant].config(1, 300)
    changed = override(plain, [*row.settings])
    assert (changed == plain) == (not row.settings)
    assert changed.optimizer == plain.optimizer


def test_the_table_gives_means_over_seeds_and_each_seed():
    names = ("probe", "probe_max", "hit", "hit_swapped", "chance", "patch_auroc")
    figures = dict.fromkeys(names, 0.5) | {"cpu_seconds": 60.0}
    figures |= {"lung unplaced_auroc": 0.8, "lung unplaced_auroc_position": 0.9}
    rows = [
        {"row": "base", "seed": seed, **figures, "zero_shot": zero_shot}
        for seed, zero_shot in ((1, 0.7), (2, 0.8))
    ]
    rows.append({"row": "all", "seed": 1, **figures, "words_true": 0.3, "words_shuffled": 0.2})
    base, whole = ablations.markdown(pd.DataFrame(rows)).splitlines()[2:]
    assert base.startswith("| alignment alone, as recommended (2) | 0.750 (0.700, 0.800) |")
    assert base.endswith("| 0.800 (0.900) |  | 60 |")
    assert whole.endswith("| 0.300 (0.200) | 60 |")
