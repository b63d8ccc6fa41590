"""Features as an artefact: made once by `simcrop embed`, read by every probe and search.

FEATURES/index.csv              volume_id, study_id, patient_id, split, native_grid, in row order
FEATURES/volume_embeddings.npy  float32 (volumes, dim)
FEATURES/pre_norm_gap.npy ...   the other features of the same pass, likewise
FEATURES/is_body.npy            which patches hold enough of the patient to be selected
FEATURES/patch_embeddings.npy   float16 (volumes, patches, shared), unit length; optional
FEATURES/patch_tokens.npy       float16 (volumes, patches, dim), for an attentive probe; optional
FEATURES/features.json          feature, contract and its hash, versions

Features of another project's encoder need `index.csv`, `volume_embeddings.npy` and a
`features.json` that names the feature.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from simcrop.data.atomic import atomic_path
from simcrop.data.contract import Contract
from simcrop.errors import DataError, complain
from simcrop.train.checkpoint import versions
from simcrop.train.features import Features
from simcrop.train.pretrained import Pretrained

TOKENS_FILE = "patch_tokens.npy"
PATCHES_FILE = "patch_embeddings.npy"


@dataclass(frozen=True, eq=False)
class FeatureFile:
    """Features with where they come from.

    Attributes:
        features: the rows.
        feature: the name of `features.volume_embeddings`.
        contract: under which they were made; None for those of another project.
    """

    features: Features
    feature: str
    contract: Contract | None


def save_features(features: Features, folder: Path, pretrained: Pretrained, feature: str) -> None:
    """Write features into a folder, each file whole; what is mapped from files is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    description = {
        "feature": feature,
        "contract": pretrained.contract.to_dict(),
        "contract_hash": pretrained.contract.hash,
        "recipe": pretrained.config.name,
        "versions": versions(),
    }
    with atomic_path(folder / "features.json") as path:
        path.write_text(json.dumps(description, indent=2), encoding="utf-8")
    others = {name: array for name, array in features.pooled.items() if name != feature}
    arrays = {
        "volume_embeddings": features.volume_embeddings, "is_body": features.is_body, **others
    }  # fmt: skip
    if features.patch_embeddings is not None and not isinstance(
        features.patch_embeddings, np.memmap
    ):
        arrays["patch_embeddings"] = features.patch_embeddings
    for name, array in arrays.items():
        with atomic_path(folder / f"{name}.npy") as path:
            np.save(path, array)
    tables = {"index": features.index, "failed": features.failed}
    for name, table in tables.items():
        with atomic_path(folder / f"{name}.csv") as path:
            table.to_csv(path, index=False)


def load_features(folder: Path, feature: str = "auto") -> FeatureFile:
    """Return the features of a folder; everything per patch stays on disk until it is read.

    Args:
        folder: written by `save_features`, or brought into its form.
        feature: which of the pass; auto is the one that was asked for then.

    Raises:
        DataError: if the folder is no feature file, or has no such feature.
    """
    try:
        description = json.loads((folder / "features.json").read_text(encoding="utf-8"))
        index = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False)
        own = str(description["feature"])
        chosen = own if feature == "auto" else feature
        vectors = np.load(folder / f"{'volume_embeddings' if chosen == own else chosen}.npy")
        if vectors.ndim != 2 or len(vectors) != len(index):
            raise ValueError(f"array of {vectors.shape} for the {len(index)} rows of index.csv")
        is_body = _optional(folder / "is_body.npy")
        failed = folder / "failed.csv"
        features = Features(
            index=index,
            volume_embeddings=vectors,
            patch_embeddings=_optional(folder / "patch_embeddings.npy"),
            is_body=np.ones((len(index), 0), dtype=bool) if is_body is None else np.array(is_body),
            failed=pd.read_csv(failed) if failed.exists() else pd.DataFrame(),
            patch_tokens=_optional(folder / TOKENS_FILE),
        )
        contract = description.get("contract")
        contract = None if contract is None else Contract.from_dict(contract)
    except (OSError, ValueError, KeyError) as error:
        remedy = "Check the path, or make them again by `simcrop embed`."
        raise DataError(
            complain(f"{folder}: no readable features ({error})", f"{feature} features", remedy)
        ) from error
    return FeatureFile(features, chosen, contract)


def _optional(path: Path) -> np.ndarray | None:
    return np.load(path, mmap_mode="r") if path.exists() else None
