"""The preprocessing contract: everything that turns a CT into the voxels a network sees.

One small object travels with every store and checkpoint. Two parties that hold contracts with the
same hash see the same voxels; where the hashes differ, `differences` says why, line by line.
"""

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from simcrop.errors import ConfigError, complain
from simcrop.geometry import PatchGrid, Shape3


@dataclass(frozen=True)
class Contract:
    """How volumes are oriented, resampled, windowed, cropped and cut into patches.

    Orientation, spacing and interpolation are applied once, by `simcrop prepare`; window, crop
    and padding when a volume is loaded.

    Attributes:
        orientation: axis codes; always RAS (x to the patient's Right, y Anterior, z Superior).
        spacing_mm: voxel size along x, y, z. Paper lineage: 1.5 x 1.5 x 3.0 mm.
        interpolation: `linear`, point-sampled trilinear.
        window_hu: the HU that map to -1 and +1; values outside are clipped.
        crop_shape: voxels of a crop along x, y, z.
        patch_shape: voxels of a patch along x, y, z; divides the crop.
        padding: what fills a crop beyond the volume: `reflect` mirrors it, `air` is -1024 HU.

    Raises:
        ConfigError: if the values do not describe a possible preprocessing.
    """

    orientation: str = "RAS"
    spacing_mm: tuple[float, float, float] = (1.5, 1.5, 3.0)
    interpolation: str = "linear"
    window_hu: tuple[float, float] = (-1000.0, 1000.0)
    crop_shape: Shape3 = (224, 224, 112)
    patch_shape: Shape3 = (16, 16, 8)
    padding: str = "reflect"

    def __post_init__(self) -> None:
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) not in choices:
                raise ConfigError(
                    complain(f"contract.{name} = {value!r}", " or ".join(choices), "Change it.")
                )
        if not all(math.isfinite(mm) and mm > 0 for mm in self.spacing_mm):
            raise ConfigError(
                complain(
                    f"contract.spacing_mm = {self.spacing_mm}",
                    "three positive numbers",
                    "Give the voxel size along x, y, z in mm.",
                )
            )
        low, high = self.window_hu
        if not low < high:
            raise ConfigError(
                complain(
                    f"contract.window_hu = {self.window_hu}", "low < high", "Swap or widen it."
                )
            )
        try:
            PatchGrid(self.crop_shape, self.patch_shape)
        except ValueError as error:
            raise ConfigError(f"contract.crop_shape: {error}") from error

    @property
    def patch_grid(self) -> PatchGrid:
        """The arrangement of patches in a crop."""
        return PatchGrid(self.crop_shape, self.patch_shape)

    @property
    def hash(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the canonical JSON form."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON has them: tuples as lists, millimetres and HU as floats."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        for name in _FLOATS:  # 3 and 3.0 are one contract, hence one hash
            values[name] = [float(value) for value in values[name]]
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Contract":
        """Return the contract that `to_dict` described.

        Raises:
            ConfigError: if a field is unknown or has an impossible value.
        """
        known = [field.name for field in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise ConfigError(
                complain(
                    f"unknown contract fields {', '.join(unknown)}",
                    f"only {', '.join(known)}",
                    "It was written by another version; prepare the store again.",
                )
            )
        arguments: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        for name in _FLOATS & set(arguments):
            arguments[name] = tuple(map(float, arguments[name]))
        return cls(**arguments)

    def differences(self, other: "Contract", fields: Iterable[str] = ()) -> list[str]:
        """Return one line for every field in which `other` differs; empty if they are equal.

        Args:
            other: the contract to compare with.
            fields: compare only these; `STORED` are those that `simcrop prepare` applies.
        """
        mine, theirs = self.to_dict(), other.to_dict()
        mine = {name: mine[name] for name in fields or mine}
        return [f"{name}: {mine[name]} here, {theirs[name]} there" for name in mine
                if mine[name] != theirs[name]]  # fmt: skip


STORED = ("orientation", "spacing_mm", "interpolation")

_CHOICES = {"orientation": ("RAS",), "interpolation": ("linear",), "padding": ("reflect", "air")}
_FLOATS = {"spacing_mm", "window_hu"}
