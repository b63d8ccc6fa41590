"""What `simcrop prepare` makes, read back: int16 HU volumes on one grid and their tables.

A store is a folder with `contract.json`, one NIfTI per volume below `volumes/`, masks below
`masks/` and `anatomy/`, and CSV tables. `docs/explanation/data-formats.md` explains each column.
Patients are pseudonyms, and nothing of a DICOM header is in it.
"""

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813
from jaxtyping import Bool, Float, Int16, Integer

from simcrop.data.contract import Contract
from simcrop.data.nifti import read_stored
from simcrop.data.store_files import StoreFiles
from simcrop.data.uncompressed import copy_path, read_uncompressed
from simcrop.data.volume import array_of
from simcrop.errors import DataError, complain
from simcrop.geometry import Shape3, VoxelGrid
from simcrop.report.sections import Report, make_report

CONTRACT_FILE = "contract.json"
T = TypeVar("T")


class Store:
    """A prepared archive.

    Attributes:
        location: the folder or URL, as it was given.
        folder: where its files are on this machine.
        cache: the folder for copies, as it was given.
        contract: the preprocessing that its volumes have been through.
        volumes: the manifest; one row per volume, indexed by volume_id.
        reports: findings, impression, sentences and patient_id, indexed by study_id.
        labels: 0/1 columns indexed by study_id, or None.
        masks: study_id, volume_id, path and sentence or label; None if there are none.
        anatomy: path of a label map, indexed by volume_id; None if there are none.
        anatomy_names: the name of each value of the label maps.
        split_name: `clean`, by patient, or `paper_split`, the authors' lists.
        selected_on_test: whether the validation part is the test part. Every result from such a
            store must carry the words "selected on test".
    """

    def __init__(
        self, location: Path | str, split: str = "clean", *, cache: Path | None = None
    ) -> None:
        """Open a store with its own split, or with `paper_split` for published numbers.

        Args:
            location: folder, or any URL that fsspec knows; its files are fetched when needed.
            split: `clean` or `paper_split`.
            cache: folder on a fast disk for uncompressed copies of the volumes, which later
                reads map into memory, and for the files of a URL.

        Raises:
            DataError: if the folder is not a finished store, or has no such split.
        """
        self._files = StoreFiles(location, cache)
        self.cache = cache
        self._cache = None if cache is None else cache / "uncompressed"
        self._copies: dict[str, tuple[Path, Shape3]] = {}
        self.location = self._files.location
        self.folder = self._files.folder
        self._files.find(CONTRACT_FILE)
        self.contract = read_contract(self.folder)
        self.volumes = self._table("manifest.csv", "volume_id")
        self.reports = self._table("reports.csv", "study_id")
        self.split_name = split
        self._volumes_of = self._read_split(split)
        self.selected_on_test = bool(self._volumes_of["val"]) and (
            set(self._volumes_of["val"]) == set(self._volumes_of["test"])
        )
        self.labels = self._optional("labels.csv", "study_id")
        if self.labels is not None:
            self.labels = self.labels.astype(int)
        self.masks = self._optional("masks.csv")
        self.anatomy = self._optional("anatomy.csv", "volume_id")

    @cached_property
    def anatomy_names(self) -> dict[int, str]:
        """The name of each value of the anatomy label maps; empty if the archive gave none."""
        names = self._optional("anatomy_names.csv")
        return (
            {}
            if names is None
            else dict(zip(names["value"].astype(int), names["name"], strict=True))
        )

    def need_labels(self) -> pd.DataFrame:
        """Return the labels.

        Raises:
            DataError: if the archive gave none.
        """
        return self._need(self.labels, "labels.csv")

    def need_masks(self) -> pd.DataFrame:
        """Return the table of masks.

        Raises:
            DataError: if the archive gave none.
        """
        return self._need(self.masks, "masks.csv")

    def _need(self, table: pd.DataFrame | None, name: str) -> pd.DataFrame:
        if table is None:
            raise DataError(
                complain(
                    f"{self.folder} has no {name}",
                    f"{name} in the archive",
                    "Add it, prepare again.",
                )
            )
        return table

    def _read_split(self, split: str) -> dict[str, list[str]]:
        """Return the volumes of train, val and test, in the order of the manifest."""
        if split == "clean":
            of_patient = self._table("splits.csv", "patient_id")["split"]
            parts = self.volumes.patient_id.map(of_patient)
        elif split == "paper_split" and self._files.find("paper_split.csv"):
            parts = self._table("paper_split.csv", "volume_id")["split"].reindex(self.volumes.index)
        else:
            raise DataError(
                complain(
                    f"{self.folder}: no split named {split}",
                    "clean, or paper_split if the authors' lists were given",
                    "Run `simcrop prepare` again with --paper-lists; finished volumes are kept.",
                ),
                kind="unknown_split",
            )
        # "val+test" is how the authors' lists have it: chosen and reported on the same volumes
        return {
            part: self.volumes.index[parts.fillna("").str.contains(part, regex=False)]
            .tolist()
            for part in ("train", "val", "test")
        }  # fmt: skip

    def patients_of(self, split: str) -> list[str]:
        """Return the pseudonyms of the patients in `train`, `val` or `test`."""
        return list(dict.fromkeys(self.volumes.patient_id[self._volumes_of[split]]))

    def volume_ids(self, split: str | None = None) -> list[str]:
        """Return the volumes of one split, or of all, in the order of the manifest."""
        return self.volumes.index.tolist() if split is None else list(self._volumes_of[split])

    def study_of(self, volume_id: str) -> str:
        """Return the study to which a volume belongs."""
        return str(self.volumes.at[volume_id, "study_id"])

    def report(self, study_id: str) -> Report:
        """Return the report of a study."""
        row = self.reports.loc[study_id]
        return make_report(row["findings"], row["impression"], row["sentences"])

    def read_hu(
        self, volume_id: str
    ) -> tuple[Int16[np.ndarray, "x y z"], Float[np.ndarray, "4 4"]]:
        """Return the voxels of a volume in HU and its affine.

        The array is a transposed view of the file's (z, y, x) order: x runs fastest, nothing is
        reordered. A .nii is mapped into memory, so only what is used is read.

        Raises:
            DataError: if the file is missing, damaged, or not as long and of the shape as when it
                was written; readers fill what is cut off with 0, the HU of water, without a word.
        """
        if self._cache is None:
            return self._read_hu(volume_id)
        if volume_id not in self._copies:  # finding a row costs as much as reading a small crop
            row: dict[str, Any] = {str(k): v for k, v in self.volumes.loc[volume_id].items()}
            path = copy_path(self._cache, row | {"volume_id": volume_id}, self.contract.stored_hash)
            self._copies[volume_id] = path, (int(row["nx"]), int(row["ny"]), int(row["nz"]))
        return read_uncompressed(*self._copies[volume_id], lambda: self._read_hu(volume_id))

    def _read_hu(self, volume_id: str) -> tuple[np.ndarray, np.ndarray]:
        """Decode the file of a volume."""
        row: Any = self.volumes.loc[volume_id]
        path = self._path_of(str(row["path"]), int(row["bytes"]))
        hu, affine = self._decode(path, read_stored)
        shape = (int(row["nx"]), int(row["ny"]), int(row["nz"]))
        if hu.shape != shape:
            raise _damaged(path, f"{hu.shape} voxels by its header", f"{shape}, as in manifest.csv")
        return hu, affine

    def native_grid(self, volume_id: str) -> VoxelGrid:
        """Return the voxels of the file that a volume was made from; see `simcrop.data.native`.

        Raises:
            DataError: if the store was prepared by a version that did not keep it.
        """
        text = self.volumes.at[volume_id, "native_grid"] if "native_grid" in self.volumes else ""
        try:
            return VoxelGrid.from_json(str(text))
        except ValueError as error:
            raise DataError(
                complain(
                    f"{self.folder / 'manifest.csv'}: no native grid of volume {volume_id}",
                    "the shape and affine of the file it was made from",
                    "Prepare the store again by this version, with --overwrite.",
                )
            ) from error

    def read_mask(self, path: str) -> Bool[np.ndarray, "x y z"]:
        """Return a mask, by its path in `masks`, on the grid of its volume."""
        return array_of(self._read(path)) > 0

    def read_anatomy(self, volume_id: str) -> Integer[np.ndarray, "x y z"]:
        """Return the anatomy label map of a volume, on its grid."""
        if self.anatomy is None:
            raise DataError(
                complain(f"{self.folder}: no anatomy.csv", "label maps", "Add them to the archive.")
            )
        return array_of(self._read(str(self.anatomy.at[volume_id, "path"])))

    def _read(self, name: str) -> sitk.Image:
        return self._decode(self._path_of(name), sitk.ReadImage)

    def _path_of(self, name: str, num_bytes: int | None = None) -> Path:
        """Return where a file is on this machine, as long as it should be."""
        path = self._files.find(name, num_bytes)
        found = 0 if path is None else path.stat().st_size
        if path is None or found != (num_bytes or found):
            raise _damaged(
                self.folder / name,
                f"missing or damaged, {found} bytes",
                f"{num_bytes or 'a file'}, as it was written",
            )
        return path

    def _decode(self, path: Path, decode: Callable[[Path], T]) -> T:
        try:
            return decode(path)
        except Exception as error:  # a damaged header makes decoders fail in many ways
            reason = str(error).rpartition("\n")[2] or type(error).__name__
            found, expected = f"missing or damaged ({reason})", "what `simcrop prepare` wrote"
            raise _damaged(path, found, expected) from error

    def _table(self, name: str, index: str | None = None) -> pd.DataFrame:
        path = self._files.find(name)
        if path is None:
            raise DataError(
                complain(
                    f"{self.location}/{name}: missing",
                    "a finished store",
                    "Run `simcrop prepare` to its end.",
                )
            )
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in {"nx", "ny", "nz", "bytes"} & set(table.columns):
            table[column] = table[column].astype(int)
        return table if index is None else table.set_index(index)

    def _optional(self, name: str, index: str | None = None) -> pd.DataFrame | None:
        return self._table(name, index) if self._files.find(name) else None


def _damaged(path: Path, found: str, expected: str) -> DataError:
    remedy = "Copy the store again, or delete the file and run `simcrop prepare` again."
    return DataError(complain(f"{path}: {found}", expected, remedy), "truncated")


def read_contract(folder: Path) -> Contract:
    """Return the contract of a store, finished or not.

    Raises:
        DataError: if the folder holds none.
    """
    try:
        values = json.loads((folder / CONTRACT_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            complain(
                f"{folder}: no readable {CONTRACT_FILE}",
                "a store written by `simcrop prepare`",
                "Check the path.",
            )
        ) from error
    written = values.pop("hash", None)
    contract = Contract.from_dict(values)
    if written != contract.hash:
        raise DataError(
            complain(
                f"{folder / CONTRACT_FILE}: hash {written} does not belong to its values",
                contract.hash,
                "Somebody edited it; prepare the store again.",
            )
        )
    return contract
