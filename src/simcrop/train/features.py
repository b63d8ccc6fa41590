"""One frozen pass over the volumes, which serves every probe and search.

`simcrop.train.feature_files` keeps what is computed here.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from simcrop.data.body import body_patches
from simcrop.data.contract import STORED, Contract, meet
from simcrop.data.preprocessing import Crop, center_crop, prepare_volume
from simcrop.data.store import Store
from simcrop.errors import DataError, SimCroPError, complain
from simcrop.train.growing_array import GrowingArray, growing_array
from simcrop.train.pooling import FEATURES
from simcrop.train.pretrained import Pretrained

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Features:
    """Embeddings of volumes, row by row with `index`.

    Attributes:
        index: volume_id, study_id, patient_id, split and native_grid (of the file a volume was made
            from, as `VoxelGrid.to_json` has it); empty text where unknown.
        volume_embeddings: one vector per volume.
        patch_embeddings: unit vectors in the space shared with sentences, or None.
        is_body: which patches hold enough of the patient to be selected.
        failed: volume_id and reason of every volume that could not be used.
        pooled: every feature of the same pass by name, `volume_embeddings` among them.
        patch_tokens: the encoder's tokens, mapped from their file, or None.
        affines: of every volume's grid of patches, cell to RAS+ mm; None if not from a pass.
    """

    index: pd.DataFrame
    volume_embeddings: Float[np.ndarray, "volumes dim"]
    patch_embeddings: Float[np.ndarray, "volumes patches shared"] | None
    is_body: Bool[np.ndarray, "volumes patches"]
    failed: pd.DataFrame
    pooled: Mapping[str, Float[np.ndarray, "volumes _"]] = field(default_factory=dict)
    patch_tokens: np.ndarray | None = None
    affines: Float[np.ndarray, "volumes 4 4"] | None = None

    def of(self, split: str) -> "Features":
        """Return the rows of one split."""
        return self._take(np.flatnonzero(self.index["split"] == split))

    def spread(self, index: pd.DataFrame) -> "Features":
        """Return one row per row of an index, in which a volume may stand under two splits."""
        row_of = {volume: row for row, volume in enumerate(self.index["volume_id"])}
        known = index[index["volume_id"].isin(row_of)].reset_index(drop=True)
        return replace(self._take(known["volume_id"].map(row_of).to_numpy()), index=known)

    def _take(self, rows: np.ndarray) -> "Features":
        patches = None if self.patch_embeddings is None else self.patch_embeddings[rows]
        return replace(
            self,
            index=self.index.iloc[rows].reset_index(drop=True),
            volume_embeddings=self.volume_embeddings[rows],
            patch_embeddings=patches,
            is_body=self.is_body[rows],
            pooled={name: vectors[rows] for name, vectors in self.pooled.items()},
            patch_tokens=None if self.patch_tokens is None else self.patch_tokens[rows],
            affines=None if self.affines is None else self.affines[rows],
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
    patches_path: Path | None = None,
    tokens_path: Path | None = None,
    batch_size: int = 16,
    on_progress: Progress = lambda done, total, what: None,
) -> Features:
    """Embed the volumes of a store, or `only` some; its contract must be the checkpoint's.

    Patch embeddings and patch tokens go into files where paths are given for them, and are mapped
    from there; what is kept in memory is then little.

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
    known = "native_grid" in store.volumes
    grids = store.volumes["native_grid"].loc[index["volume_id"]].to_numpy() if known else ""
    index["native_grid"] = grids

    def read(volume: str) -> Crop:
        return center_crop(*store.read_hu(volume), pretrained.contract)

    options = (read, feature, with_patches, batch_size, on_progress)
    if patches_path is None and tokens_path is None:
        once = index.drop_duplicates("volume_id").reset_index(drop=True)  # val+test are one volume
        return _embed(pretrained, once, *options).spread(index)
    return _embed_into(patches_path, tokens_path, pretrained, index, *options)


def embed_files(
    pretrained: Pretrained,
    paths: Sequence[Path],
    *,
    feature: str = "post_norm_gap",
    with_patches: bool = False,
    patches_path: Path | None = None,
    on_progress: Progress = lambda done, total, what: None,
) -> Features:
    """Embed volumes from files or DICOM folders; those that cannot be read are listed.

    Raises:
        DataError: if none could be used.
    """
    names = [str(path) for path in paths]
    index = pd.DataFrame({"volume_id": names, "study_id": "", "patient_id": "", "split": ""})
    grids = {}

    def read(volume: str) -> Crop:
        prepared = prepare_volume(volume, pretrained.contract)
        grids[volume] = "" if prepared.native_grid is None else prepared.native_grid.to_json()
        return center_crop(prepared.hu, prepared.affine, pretrained.contract)

    parts = (pretrained, index, read, feature, with_patches, 1, on_progress)
    features = _embed_into(patches_path, None, *parts)
    native = features.index["volume_id"].map(grids)
    return replace(features, index=features.index.assign(native_grid=native))


def embed_in_parts(
    pretrained: Pretrained,
    store: Store,
    splits: Sequence[str],
    only: Collection[str],
    *,
    part_size: int = 256,
    on_progress: Progress = lambda done, total, what: None,
) -> Iterator[Features]:
    """Yield the features of a store's volumes, some volumes at a time.

    Patches in the space shared with sentences come along where there is one. A volume's take 4.2 MB
    at the paper's size, which thousands of them must not keep.
    Raises as `embed_store`.
    """
    wanted = [v for split in splits for v in store.volume_ids(split) if v in only]
    for start in range(0, len(wanted), part_size):

        def update(done: int, total: int, what: str, before: int = start) -> None:
            on_progress(before + done, len(wanted), what)

        some = set(wanted[start : start + part_size])
        yield embed_store(
            pretrained,
            store,
            splits=splits,
            only=some,
            with_patches=pretrained.simcrop.terms.alignment,
            on_progress=update,
        )


def _embed_into(patches_path: Path | None, tokens_path: Path | None, *parts: Any) -> Features:
    """Embed with what is per patch going into files, and map these."""
    paths = (patches_path, tokens_path)
    with ExitStack() as files:
        arrays = [None if p is None else files.enter_context(growing_array(p)) for p in paths]
        features = _embed(*parts, *arrays)
    patches, tokens = (None if p is None else np.load(p, mmap_mode="r") for p in paths)
    kept = features.patch_embeddings if patches is None else patches
    return replace(features, patch_embeddings=kept, patch_tokens=tokens)


def _embed(
    pretrained: Pretrained,
    index: pd.DataFrame,
    read: Callable[[str], Crop],
    feature: str,
    with_patches: bool,
    batch_size: int,
    on_progress: Progress,
    patches_file: GrowingArray | None = None,
    tokens: GrowingArray | None = None,
) -> Features:
    if feature not in FEATURES:
        raise ValueError(f"feature {feature!r}; choose one of {', '.join(FEATURES)}")
    kept: list[int] = []
    failed: list[tuple[str, str]] = []
    if feature not in pretrained.features:
        pretrained.need_alignment()
    pooled: dict[str, list[np.ndarray]] = {name: [] for name in pretrained.features}
    patches, is_body, affines = [], [], []
    for rows, crops in _batches(index["volume_id"].tolist(), read, batch_size, failed):
        encoded = pretrained.encode(crops)
        for name, vectors in pooled.items():
            vectors.append(pretrained.pool(encoded, crops, name).cpu().numpy())
        if tokens is not None:
            tokens.append(encoded.patch_tokens.half().cpu().numpy())
        if with_patches:
            kept_patches = patches if patches_file is None else patches_file
            kept_patches.append(pretrained.embed_encoded(encoded).half().cpu().numpy())
        is_body += [body_patches(crop, pretrained.grid) for crop in crops]
        affines += [pretrained.grid.affine(crop.affine) for crop in crops]
        kept += rows
        on_progress(len(kept) + len(failed), len(index), "embed volumes")
    if not kept:
        first = f"; the first: {failed[0][0]}: {failed[0][1]}" if failed else ""
        raise DataError(
            complain(f"none of {len(index)} volumes could be used{first}", "at least one", "")
        )
    joined = {name: np.concatenate(vectors) for name, vectors in pooled.items()}
    return Features(
        index.iloc[kept].reset_index(drop=True),
        joined[feature],
        np.concatenate(patches) if patches else None,
        np.stack(is_body),
        pd.DataFrame(failed, columns=["volume_id", "reason"]),
        joined,
        affines=np.stack(affines),
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
