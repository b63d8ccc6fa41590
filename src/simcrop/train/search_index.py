"""An index for search: a features folder with patches, and what says where they came from.

Beside the files of `simcrop embed --patches`:

    INDEX/global_embeddings.npy  float32 (volumes, shared), unit length
    INDEX/affines.npy            float64 (volumes, 4, 4), cell of the patch grid to RAS+ mm
    INDEX/index.json             checkpoint, hashes of its weights and text encoder, store
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from simcrop.data.atomic import atomic_path
from simcrop.errors import DataError, complain
from simcrop.model.text_encoder import weights_fingerprint
from simcrop.train.features import Features
from simcrop.train.pretrained import Pretrained
from simcrop.train.shared_space import global_volumes

INDEX_FILE = "index.json"
ARRAYS = ("patch_embeddings", "global_embeddings", "is_body", "affines")
_FIELDS = {"checkpoint", "store", "weights", "text_encoder", "contract_hash", "top_k", "grid"}


@dataclass(frozen=True, eq=False)
class SearchIndex:
    """An opened index; patches stay on disk until they are scored.

    Attributes:
        description: what made it; the fields of `index.json`.
        table: volume_id, study_id, patient_id, split and native_grid of every row.
    """

    folder: Path
    description: dict[str, Any]
    table: pd.DataFrame
    patch_embeddings: Float[np.ndarray, "volumes patches shared"]
    global_embeddings: Float[np.ndarray, "volumes shared"]
    is_body: Bool[np.ndarray, "volumes patches"]
    affines: Float[np.ndarray, "volumes 4 4"]


def write_index(
    folder: Path, features: Features, pretrained: Pretrained, *, checkpoint: Path, store: str
) -> None:
    """Write what search needs beside the files of `save_features`, `index.json` last.

    Args:
        folder: of the features.
        features: with patches.
        pretrained: what made them.
        checkpoint: its folder, noted for search.
        store: where the volumes are, "" for files.
    """
    assert features.affines is not None
    arrays = {
        "global_embeddings": global_volumes(pretrained, features),
        "affines": features.affines,
    }
    for name, array in arrays.items():
        with atomic_path(folder / f"{name}.npy") as path:
            np.save(path, array)
    description = {
        "checkpoint": str(checkpoint.resolve()),
        "store": store,
        **_identity(pretrained),
        "top_k": pretrained.config.alignment.top_k,
        "grid": pretrained.grid.shape,
    }
    with atomic_path(folder / INDEX_FILE) as path:
        path.write_text(json.dumps(description, indent=2), encoding="utf-8")


def open_index(folder: Path) -> SearchIndex:
    """Open an index.

    Raises:
        DataError: if the folder is none, or its parts do not belong together.
    """
    try:
        description = json.loads((folder / INDEX_FILE).read_text(encoding="utf-8"))
        if missing := _FIELDS - description.keys():
            raise ValueError(f"{INDEX_FILE} lacks {', '.join(sorted(missing))}")
        table = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False)
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        lengths = {name: len(array) for name, array in arrays.items()} | {"index.csv": len(table)}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"rows differ: {lengths}")
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(
            complain(
                f"{folder} is no index for search ({error})",
                "a folder written by `simcrop embed --patches`",
                "Write it again by this version, with --patches.",
            )
        ) from error
    return SearchIndex(folder, description, table, **arrays)


def check_index(index: SearchIndex, pretrained: Pretrained) -> None:
    """Check that a checkpoint is the one that the index was made with.

    Raises:
        DataError: if weights, text encoder or contract are others: cosines would mean nothing.
    """
    for name, value in _identity(pretrained).items():
        if index.description[name] != value:
            raise DataError(
                complain(
                    f"{index.folder} was made with {name} {index.description[name]}, the "
                    f"checkpoint has {value}",
                    f"the checkpoint of the index ({index.description['checkpoint']})",
                    "Give that one by --checkpoint, or embed the volumes again.",
                )
            )


def _identity(pretrained: Pretrained) -> dict[str, str]:
    """Return the hashes by which a checkpoint is known."""
    return {
        "weights": weights_fingerprint(pretrained.simcrop),
        "text_encoder": pretrained.text_fingerprint,
        "contract_hash": pretrained.contract.hash,
    }
