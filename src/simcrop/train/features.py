"""Features as an artefact: one frozen pass over the volumes serves every probe and search.

FEATURES/index.csv              volume_id, study_id, patient_id, split, in row order
FEATURES/volume_embeddings.npy  float32 (volumes, dim)
FEATURES/patch_embeddings.npy   float16 (volumes, patches, shared), unit length; optional
FEATURES/features.json          feature, contract hash, versions
"""

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from simcrop.data.atomic import atomic_path
from simcrop.data.body import body_patches
from simcrop.data.contract import STORED, Contract, meet
from simcrop.data.preprocessing import Crop, center_crop
from simcrop.data.store import Store
from simcrop.errors import DataError, SimCroPError, complain
from simcrop.train.checkpoint import versions
from simcrop.train.pretrained import Pretrained, pool

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Features:
    """Embeddings of volumes, row by row with `index`.

    Attributes:
        index: volume_id, study_id, patient_id and split; empty text where unknown.
        volume_embeddings: one vector per volume.
        patch_embeddings: unit vectors in the space shared with sentences, or None.
        is_body: which patches hold enough of the patient to be selected.
        failed: volume_id and reason of every volume that could not be used.
    """

    index: pd.DataFrame
    volume_embeddings: Float[np.ndarray, "volumes dim"]
    patch_embeddings: Float[np.ndarray, "volumes patches shared"] | None
    is_body: Bool[np.ndarray, "volumes patches"]
    failed: pd.DataFrame

    def of(self, split: str) -> "Features":
        """Return the rows of one split."""
        rows = np.flatnonzero(self.index["split"] == split)
        patches = None if self.patch_embeddings is None else self.patch_embeddings[rows]
        return replace(
            self,
            index=self.index.iloc[rows].reset_index(drop=True),
            volume_embeddings=self.volume_embeddings[rows],
            patch_embeddings=patches,
            is_body=self.is_body[rows],
        )

    def stored_patches(self) -> Float[np.ndarray, "volumes patches shared"]:
        """Return the patch embeddings in the half precision in which they are kept.

        Raises:
            ValueError: if the features were made without.
        """
        if self.patch_embeddings is None:
            raise ValueError("these features have no patch embeddings; pass with_patches=True")
        return self.patch_embeddings

    def need_patches(self) -> Float[np.ndarray, "volumes patches shared"]:
        """Return the patch embeddings as float32, twice the size; raises as `stored_patches`."""
        return self.stored_patches().astype(np.float32)


def embed_store(
    pretrained: Pretrained,
    store: Store,
    *,
    splits: Sequence[str] = ("train", "val", "test"),
    feature: str = "post_norm_gap",
    with_patches: bool = False,
    only: Collection[str] | None = None,
    batch_size: int = 16,
    on_progress: Progress = lambda done, total, what: None,
) -> Features:
    """Embed the volumes of a store, or `only` some; its contract must be the checkpoint's.

    Raises:
        DataError: with one line for each difference between the contracts, or if no volume of
            these splits could be used.
    """
    check_contracts(store, pretrained.contract)
    rows = [
        (volume, store.study_of(volume), str(store.volumes.at[volume, "patient_id"]), split)
        for split in splits
        for volume in store.volume_ids(split)
        if only is None or volume in only
    ]
    index = pd.DataFrame(rows, columns=["volume_id", "study_id", "patient_id", "split"])

    def read(volume: str) -> Crop:
        return center_crop(*store.read_hu(volume), pretrained.contract)

    return _embed(pretrained, index, read, feature, with_patches, batch_size, on_progress)


def embed_files(
    pretrained: Pretrained,
    paths: Sequence[Path],
    *,
    feature: str = "post_norm_gap",
    with_patches: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> Features:
    """Embed volumes from files or DICOM folders; those that cannot be read are listed.

    Raises:
        DataError: if none could be used.
    """
    names = [str(path) for path in paths]
    index = pd.DataFrame({"volume_id": names, "study_id": "", "patient_id": "", "split": ""})
    return _embed(pretrained, index, pretrained.crop, feature, with_patches, 1, on_progress)


def _embed(
    pretrained: Pretrained,
    index: pd.DataFrame,
    read: Callable[[str], Crop],
    feature: str,
    with_patches: bool,
    batch_size: int,
    on_progress: Progress,
) -> Features:
    kept: list[int] = []
    failed: list[tuple[str, str]] = []
    vectors, patches, is_body = [], [], []
    for rows, crops in _batches(index["volume_id"].tolist(), read, batch_size, failed):
        encoded = pretrained.encode(crops)
        vectors.append(pool(encoded, feature).cpu().numpy())
        if with_patches:
            patches.append(pretrained.embed_encoded(encoded).half().cpu().numpy())
        is_body += [body_patches(crop, pretrained.grid) for crop in crops]
        kept += rows
        on_progress(len(kept) + len(failed), len(index), "embed volumes")
    if not kept:
        first = f"; the first: {failed[0][0]}: {failed[0][1]}" if failed else ""
        raise DataError(
            complain(f"none of {len(index)} volumes could be used{first}", "at least one", "")
        )
    return Features(
        index.iloc[kept].reset_index(drop=True),
        np.concatenate(vectors),
        np.concatenate(patches) if with_patches else None,
        np.stack(is_body),
        pd.DataFrame(failed, columns=["volume_id", "reason"]),
    )


def _batches(
    volumes: list[str],
    read: Callable[[str], Crop],
    batch_size: int,
    failed: list[tuple[str, str]],
) -> Iterator[tuple[list[int], list[Crop]]]:
    """Yield rows and crops; a volume that cannot be read goes to `failed`, the rest goes on."""
    rows: list[int] = []
    crops: list[Crop] = []
    for row, volume in enumerate(volumes):
        try:
            crops.append(read(volume))
            rows.append(row)
        except SimCroPError as error:
            failed.append((volume, str(error)))
        if len(rows) == batch_size:
            yield rows, crops
            rows, crops = [], []
    if rows:
        yield rows, crops


def check_contracts(store: Store, contract: Contract) -> None:
    """Check that a store was prepared as a network wants its volumes.

    Window, crop, padding and text are the network's own when it reads; where the store was
    prepared under others, that is logged.

    Raises:
        DataError: with one line for each difference.
    """
    remedy = "Run `simcrop prepare --recipe` with the recipe of this run or checkpoint."
    meet(contract, store.contract, store.location, STORED, remedy)


def save_features(features: Features, folder: Path, pretrained: Pretrained, feature: str) -> None:
    """Write features into a folder, each file whole."""
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
    arrays = {"volume_embeddings": features.volume_embeddings}
    if features.patch_embeddings is not None:
        arrays["patch_embeddings"] = features.patch_embeddings
    for name, array in arrays.items():
        with atomic_path(folder / f"{name}.npy") as path:
            np.save(path, array)
    tables = {"index": features.index, "failed": features.failed}
    for name, table in tables.items():
        with atomic_path(folder / f"{name}.csv") as path:
            table.to_csv(path, index=False)
