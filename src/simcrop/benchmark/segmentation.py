"""What an encoder is worth to a UNETR that sees few label maps: mean Dice on held-out phantoms.

Trained by the recipe `segment_tiny` on the organs of a few patients, without validation, the same
number of updates and crops for every encoder.
"""

from collections.abc import Callable

import numpy as np

from simcrop.benchmark.smaller_store import SmallerStore
from simcrop.config import override
from simcrop.data.store import Store
from simcrop.evaluate.items import Items
from simcrop.evaluate.segmentation import dice_per_class
from simcrop.recipes import load_segmentation_recipe
from simcrop.train.run_folder import RunFolder
from simcrop.train.segment import Task, train_segmentation

NUM_TRAIN, NUM_TEST = 40, 40
Progress = Callable[[int, int, str], None]


def measure_segmentation(
    task: Task, run: RunFolder, store: Store, *, steps: int, seed: int, on_progress: Progress
) -> Items:
    """Return the Dice of every organ in some held-out volumes.

    Args:
        task: whose encoder the UNETR starts from.
        run: one that was stopped is gone on with.
        store: with label maps of organs.
        steps: updates.
        seed: of the crops and the decoder.
        on_progress: called with (done, total, what).
    """
    few = SmallerStore(store.location, train=NUM_TRAIN, val=0, test=NUM_TEST)
    recipe = load_segmentation_recipe("segment_tiny")
    warmup = min(recipe.optimizer.warmup, steps // 4)
    changed = [f"seed={seed}", f"optimizer.length={steps}", f"optimizer.warmup={warmup}"]
    segmenter = train_segmentation(
        override(recipe, changed), task, few, run, resume=run.config.exists(),
        on_progress=on_progress,
    )  # fmt: skip
    classes, volumes = segmenter.setup.classes, few.volume_ids("test")
    values = []
    for done, volume in enumerate(volumes):
        on_progress(done, len(volumes), "segment volumes")
        reference = classes.index(few.read_anatomy(volume), volume)
        found = segmenter.classes(few.read_hu(volume)[0])
        values.append(dice_per_class(found, reference, len(classes)))
    patients = tuple(str(few.volumes.at[volume, "patient_id"]) for volume in volumes)
    return Items(
        "", "unetr_dice", tuple(volumes), patients, tuple(classes.names[1:]), np.stack(values)
    )
