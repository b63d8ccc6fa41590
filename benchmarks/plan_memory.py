"""Measure the memory of training steps beside what `simcrop plan` predicts, as a Markdown table.

    python benchmarks/plan_memory.py [--paper]

Each configuration is trained for one step in a fresh process whose allocator returns every block of
64 KiB or more to the system at once (glibc's MALLOC_MMAP_THRESHOLD_), so that the peak of the
resident set above the start is what was alive; the optimizer's state and old gradients are there
as in the middle of a run. `--paper` adds the paper's size, which takes a minute of CPU time.
"""

import argparse
import os
from typing import NamedTuple

from fresh_process import MIB, in_process, peak, reset_peak

from simcrop.config import Config, override
from simcrop.recipes import load_recipe
from simcrop.train.footprint import Step, footprint
from simcrop.train.rehearsal import TextLengths

MIDDLE = (
    "volume.crop_shape=[128,128,64]", "volume.patch_shape=[16,16,8]", "vision_encoder.dim=384",
    "vision_encoder.depth=6", "vision_encoder.heads=6", "vision_decoder.dim=256",
    "vision_decoder.heads=8", "fusion.dim=256", "fusion.heads=4", "fusion.depth=2",
    "alignment.shared_dim=256",
)  # fmt: skip
CHECKPOINTED = "trainer.checkpoint_activations=true"
ONLY_VOLUME = tuple(f"terms.{one}=false" for one in ("masked_report", "alignment", "fusion"))


class Case(NamedTuple):
    """A configuration to check: recipe, settings, studies, precision and lengths of the text."""

    name: str
    recipe: str
    settings: tuple[str, ...]
    studies: int
    is_bf16: bool = False
    text: TextLengths = TextLengths(120, 140, 12)

    @property
    def config(self) -> Config:
        """The configuration, with the packaged text encoder."""
        return override(load_recipe(self.recipe), [*self.settings, "text.encoder=packaged"])


CASES = (
    Case("tiny, 32 studies", "tiny", (), 32),
    Case("tiny_recommended, 32 studies", "tiny_recommended", (), 32),
    Case("middle, 4 studies", "paper", MIDDLE, 4),
    Case("middle, 12 studies", "paper", MIDDLE, 12),
    Case("middle, 12 studies, checkpointing", "paper", (*MIDDLE, CHECKPOINTED), 12),
    Case("middle, 8 studies, bf16", "paper", MIDDLE, 8, is_bf16=True),
    Case("middle, 8 studies, masked volume alone", "paper", (*MIDDLE, *ONLY_VOLUME), 8),
    Case("middle, 8 studies, base", "base", MIDDLE, 8),
    Case("middle, 8 studies, base_recommended", "base_recommended", MIDDLE, 8),
    Case("middle, 4 studies, decoder 8 x 192", "paper",
         (*MIDDLE, "vision_decoder.dim=192", "vision_decoder.depth=8"), 4),
    Case("middle, 4 studies, 64 sentences, 400 words", "paper", MIDDLE, 4,
         text=TextLengths(400, 400, 64)),
    Case("ViT-B, 96x96x48, 2 studies", "paper", ("volume.crop_shape=[96,96,48]",), 2),
)  # fmt: skip
PAPER = (
    Case("paper, 1 study", "paper", (), 1, text=TextLengths(297, 334, 20)),
    Case("paper, 2 studies, checkpointing", "paper", (CHECKPOINTED,), 2,
         text=TextLengths(297, 334, 20)),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paper", action="store_true", help="the paper's size too")
    options = parser.parse_args()
    os.environ |= {"MALLOC_MMAP_THRESHOLD_": str(1 << 16), "OMP_NUM_THREADS": "1"}
    print("| configuration | predicted, MiB | measured, MiB | predicted / measured |")
    print("|---|---|---|---|")
    for case in CASES + (PAPER if options.paper else ()):
        predicted = footprint(case.config, case.studies, case.text, is_bf16=case.is_bf16)
        mib, measured = predicted.peak_bytes / MIB, in_process(measure, case)
        print(f"| {case.name} | {mib:.0f} | {measured:.0f} | {mib / measured:.3f} |", flush=True)


def measure(case: Case) -> float:
    """Return the MiB above start of a step."""
    small = override(load_recipe("tiny"), ["text.encoder=packaged"])
    Step(small, 1, TextLengths(8, 8, 2), is_bf16=case.is_bf16)()  # libraries load now
    before = reset_peak()
    Step(case.config, case.studies, case.text, is_bf16=case.is_bf16)()
    return peak() - before


if __name__ == "__main__":
    main()
