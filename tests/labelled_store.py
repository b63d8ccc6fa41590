"""Small chests with two lungs, as a store with label maps, and an encoder that nobody trained."""

from pathlib import Path

import numpy as np
import pandas as pd

from simcrop.config import Config, override
from simcrop.data.contract import Contract
from simcrop.data.prepare import prepare
from simcrop.data.store import Store
from simcrop.data.volume import write_volume
from simcrop.recipes import RECIPES
from simcrop.recipes.segmentation import SEGMENTATION_RECIPES
from simcrop.train.checkpoint import save_encoder
from simcrop.train.networks import build_encoder

SPACING_MM = (10.0, 10.0, 10.0)
SHAPE = (24, 20, 16)
NAMES = {0: "background", 4: "left lung", 9: "right lung"}

ENCODER: Config = override(
    RECIPES["tiny"],
    [
        "volume.spacing_mm=[10, 10, 10]",
        "volume.crop_shape=[24, 24, 16]",
        "volume.patch_shape=[8, 8, 8]",
        "vision_encoder.dim=24",
        "vision_encoder.depth=2",
        "vision_encoder.heads=2",
    ],
)

SHORT = (
    "volume.crop_shape=[24, 24, 16]",
    "unetr.feature_size=4",
    "optimizer.length=36",
    "optimizer.warmup=3",
    "optimizer.lr=0.004",
    "optimizer.crops_per_volume=1",
    "optimizer.volumes_per_step=2",
    "trainer.log_steps=1",
    "trainer.checkpoint_steps=10",
    "trainer.validation_epochs=6",
)
CONFIG = override(SEGMENTATION_RECIPES["segment_tiny"], list(SHORT))


def chest(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """HU and labels of a body with a lung on either side, a little different in every patient."""
    rng = np.random.default_rng(seed)
    x, y, z = (np.arange(n) - (n - 1) / 2 for n in SHAPE)
    x, y, z = x[:, None, None], y[None, :, None], z[None, None]
    hu = np.full(SHAPE, -1000.0)
    hu[np.broadcast_to((x / 11) ** 2 + (y / 8) ** 2 < 1, SHAPE)] = 40
    labels = np.zeros(SHAPE, dtype=np.uint8)
    for side, value in ((-1, 4), (1, 9)):  # x runs to the right
        at, size = side * (5 + rng.uniform(-0.5, 0.5)), 3.5 + rng.uniform(-0.3, 0.3)
        inside = ((x - at) / size) ** 2 + (y / 6) ** 2 + (z / 7) ** 2 < 1
        hu[inside], labels[inside] = -800, value
    return (hu + rng.normal(0, 15, SHAPE)).astype(np.int16), labels


def write_archive(folder: Path, num_patients: int = 8) -> Path:
    """Patients P0, P1, ...: the last two are for testing, the two before for validation."""
    affine = np.diag([*SPACING_MM, 1.0])
    tables: dict[str, list] = {name: [] for name in ("volumes", "reports", "anatomy")}
    for number in range(num_patients):
        name = f"P{number}"
        hu, labels = chest(number)
        write_volume(folder / f"{name}.nii.gz", hu, affine)
        write_volume(folder / f"{name}_labels.nii.gz", labels, affine)
        left = num_patients - number
        part = "test" if left <= 2 else "val" if left <= 4 else "train"
        tables["volumes"].append((name, name, f"{name}.nii.gz"))
        tables["reports"].append((name, name, "", "", part))
        tables["anatomy"].append((name, f"{name}_labels.nii.gz"))
    columns = {
        "volumes": ["volume_id", "study_id", "path"],
        "reports": ["study_id", "patient_id", "findings", "impression", "split"],
        "anatomy": ["volume_id", "path"],
    }
    for name, rows in tables.items():
        pd.DataFrame(rows, columns=columns[name]).to_csv(folder / f"{name}.csv", index=False)
    names = pd.DataFrame(NAMES.items(), columns=["value", "name"])
    names.to_csv(folder / "anatomy_names.csv", index=False)
    return folder


def prepare_store(archive: Path, folder: Path) -> Store:
    """The archive at the encoder's spacing."""
    contract = Contract(**ENCODER.volume.model_dump())
    prepare(archive, folder, contract, keep_patient_ids=True, any_region=True)
    return Store(folder)


def write_encoder(folder: Path) -> Path:
    """A checkpoint of an encoder with random weights."""
    import torch

    torch.manual_seed(7)
    encoder = build_encoder(ENCODER)
    save_encoder(folder, encoder, ENCODER, feature="post_norm_gap", origin={"source": "test"})
    return folder
