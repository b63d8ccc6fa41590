"""The whole method in Python: phantoms, store, a few updates, and where a sentence looks.

    python examples/01_phantom_to_map.py

Four updates of a tiny network learn nothing; the point is which function does what. The command
line does the same: docs/tutorial/first-pre-training.md.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import simcrop
from simcrop.config import override
from simcrop.data.phantom import write_phantoms
from simcrop.data.prepare import prepare
from simcrop.data.store import Store
from simcrop.data.volume import write_volume
from simcrop.recipes import load_recipe
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder


def main(folder: Path) -> None:
    # A recipe is a whole configuration. Settings are changed by their path, as on the command
    # line, and checked: a misspelt name or an impossible value is an error with that path.
    config = override(
        load_recipe("tiny_recommended"),
        ["optimizer.length=4", "optimizer.warmup=1", "optimizer.batch_size=4"],
    )

    # An archive is what a hospital has: tables and files. A store is what a network reads. The
    # contract of the configuration says how to get from one to the other.
    archive = write_phantoms(folder / "archive", 8, seed=0)
    summary = prepare(archive, folder / "store", config.contract())
    print(f"{summary.num_prepared} volumes prepared, {summary.num_refused} refused")

    store = Store(folder / "store")
    run = RunFolder(folder / "run")
    pretrain(config, store, run)

    # The checkpoint brings its contract, so any readable CT can be given, as it is.
    model = simcrop.load(run.folder)
    masks = store.need_masks()
    sentence = masks["sentence"].iloc[0]
    study = masks["study_id"].iloc[0]
    maps = model.similarity_map(archive / f"volumes/{study}.nii.gz", [sentence])

    # One cosine per patch. Patches of air are scored, but no sentence may select them.
    values = maps.values[0]
    body = np.where(maps.is_body, values, -np.inf)
    best = np.unravel_index(body.argmax(), body.shape)
    x, y, z, _ = maps.affine @ (*best, 1)
    print(f"{sentence!r}: best of {maps.is_body.sum()} body patches at {x:.0f} {y:.0f} {z:.0f} mm")

    # The affine puts the small map on the CT in any viewer: nothing is resampled.
    write_volume(folder / "map.nii.gz", values.astype(np.float32), maps.affine)
    print(f"map of {values.shape} patches, cosines from {values.min():.2f} to {values.max():.2f}")


if __name__ == "__main__":
    with TemporaryDirectory() as temporary:
        main(Path(temporary))
