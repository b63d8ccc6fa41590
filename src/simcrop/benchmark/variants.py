"""What is compared: each variant is a recipe with a few settings changed.

All that train see the same patients in the same order for the same number of updates; only the CNN
has its own of both. Variants without sentences in the shared space have no zero-shot and no
grounding; their figures are those of the probe.
"""

from dataclasses import dataclass, replace
from typing import Literal

from simcrop.config import Config, override
from simcrop.recipes import RECIPES

Kind = Literal["pre-trained", "untrained", "supervised", "cnn", "patch statistics"]
SELECTED_ALONE = "alignment.whole_share=0"  # a volume's score is of its K patches
_VOLUME_ONLY = ("terms.masked_report=false", "terms.fusion=false", "terms.alignment=false")
_WITH_REPORT = ("terms.masked_report=true", "terms.alignment=false", "fusion.looks_at=visible")
_ALIGNMENT_ONLY = ("terms.masked_volume=false", "terms.masked_report=false", "terms.fusion=false")

# 480 patches of 33 x 33 x 48 mm instead of 120 of 66 x 66 x 48, and six instead of three are
# selected. A cell has to divide a patch: one block of 2 x 2 x 2 voxels instead of 2 x 2 x 2 blocks.
_SMALL_PATCHES = (
    "volume.patch_shape=[6,6,6]",
    "vision_encoder.cell_shape=[1,1,1]",
    "alignment.top_k=6",
)


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    Attributes:
        name: names the folder of its cells.
        says: what it is, for the table.
        recipe: where its settings start.
        settings: what is changed, as `--set` takes it.
        kind: how its encoder comes about.
        permuted: whether training patients are given each other's reports.
        segments: whether its encoder is also put under a UNETR, which costs minutes.
    """

    name: str
    says: str
    recipe: str = "tiny_recommended"
    settings: tuple[str, ...] = ()
    kind: Kind = "pre-trained"
    permuted: bool = False
    segments: bool = False

    def config(self, seed: int, steps: int) -> Config:
        """Return its settings for one seed and number of updates."""
        recipe = RECIPES[self.recipe]
        return override(
            recipe,
            [
                *self.settings,
                f"seed={seed}",
                f"optimizer.length={steps}",
                f"optimizer.warmup={min(recipe.optimizer.warmup, steps // 4)}",
            ],
        )

    def with_small_patches(self) -> "Variant":
        """Return the same with patches of half the width; K falls only where it fell before."""
        falls = RECIPES[self.recipe].alignment.top_k_start is not None
        start = ("alignment.top_k_start=480",) if falls else ()
        return replace(self, settings=(*self.settings, *_SMALL_PATCHES, *start))


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("patch_statistics", "no network: mean and deviation of every patch",
                kind="patch statistics"),
        Variant("untrained", "the network as it is drawn", kind="untrained", segments=True),
        Variant("masked_volume", "masked volume alone", settings=_VOLUME_ONLY, segments=True),
        Variant("masked_report", "and masked report, without the volume's help",
                settings=(*_WITH_REPORT, "terms.fusion=false")),
        Variant("fusion_word_patch", "and words attend to patches",
                settings=(*_WITH_REPORT, "fusion.instance_level=false")),
        Variant("fusion_instance", "and the volume's mean is added to words",
                settings=(*_WITH_REPORT, "fusion.word_patch=false")),
        Variant("fusion", "and both: cross-granularity fusion", settings=_WITH_REPORT),
        Variant("within_report", "alignment alone, the paper's negatives: within the report",
                settings=(*_ALIGNMENT_ONLY, "alignment.negatives=within_report", SELECTED_ALONE)),
        Variant("batch", "alignment alone, negatives from the batch",
                settings=(*_ALIGNMENT_ONLY, "alignment.negatives=batch", SELECTED_ALONE)),
        Variant("per_image", "alignment alone, every sentence in every volume",
                settings=(*_ALIGNMENT_ONLY, SELECTED_ALONE)),
        Variant("small_patches", "the same, patches of 33 x 33 x 48 mm instead of 66 x 66 x 48",
                settings=(*_ALIGNMENT_ONLY, SELECTED_ALONE)).with_small_patches(),
        Variant("small_patches_deep", "and six blocks instead of three",
                settings=(*_ALIGNMENT_ONLY, SELECTED_ALONE, "vision_encoder.depth=6")
                ).with_small_patches(),
        Variant("whole", "alignment alone as recommended: half of a volume's score is of its mean",
                settings=_ALIGNMENT_ONLY),
        Variant("published", "the full method as published", recipe="tiny", segments=True),
        Variant("recommended", "the full method as recommended", segments=True),
        Variant("selected_alone", "the same, a volume's score of its selected patches alone",
                settings=(SELECTED_ALONE,)),
        Variant("no_fusion", "and without fusion",
                settings=(SELECTED_ALONE, "terms.fusion=false")),
        Variant("permuted", "with fusion, reports permuted between patients (control)",
                settings=(SELECTED_ALONE,), permuted=True),
        Variant("global_contrast", "contrast of whole volumes and reports (as CLIP)",
                settings=(*_ALIGNMENT_ONLY, "terms.alignment=false",
                          "terms.instance_contrast=true")),
        Variant("supervised", "the same network, labels of all training patients from scratch",
                kind="supervised"),
        Variant("cnn", "a small 3-D CNN, likewise: the ceiling", kind="cnn"),
    )
}  # fmt: skip

OF_PATCH_SIZE = ("small_patches", "small_patches_deep")
QUICK = ("patch_statistics", "untrained", "masked_volume", "within_report", "whole",
         "published", "recommended", "permuted", "supervised")  # fmt: skip
