"""The preprocessing contract: everything that turns a CT and its report into what a network sees.

One small object travels with every store, feature file and checkpoint. Two parties that hold
contracts with the same hash see the same voxels and the same sentences. Where two that differ
meet, `meet` decides: a field that shaped the bytes of the one cannot be made up for by the other
and is refused with a line for each difference; all else is applied when a volume or a report is
read, so the reader's own value is taken, and that is said.

STORED shapes the volumes of a store. IMAGE is what the embedding of a volume depends on, so it
must agree where features meet a checkpoint. Within one run every field must agree.
"""

import hashlib
import json
import logging
import math
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from simcrop.errors import ConfigError, DataError, complain
from simcrop.geometry import PatchGrid, Shape3

log = logging.getLogger(__name__)

STORED = ("orientation", "spacing_mm", "interpolation")
IMAGE = (*STORED, "window_hu", "crop_shape", "patch_shape", "padding")


@dataclass(frozen=True)
class Contract:
    """How volumes are oriented, resampled, windowed and cut into patches, and texts into words.

    Orientation, spacing and interpolation are applied once, by `simcrop prepare`; window, crop,
    padding and everything about text when a volume or a report is read.

    Attributes:
        orientation: axis codes; always RAS (x to the patient's Right, y Anterior, z Superior).
        spacing_mm: voxel size along x, y, z. Paper lineage: 1.5 x 1.5 x 3.0 mm.
        interpolation: `linear`, point-sampled trilinear, or `antialiased`, the mean weighted by a
            triangle as wide as the new voxel.
        window_hu: the HU that map to -1 and +1; values outside are clipped.
        crop_shape: voxels of a crop along x, y, z.
        patch_shape: voxels of a patch along x, y, z; divides the crop.
        padding: what fills a crop beyond the volume: `reflect` mirrors it, `air` is -1024 HU.
        rescale: what the values are: `hu` once rescaled, or `spread_8bit`, a windowed 8-bit copy
            spread over its window again, whose finer steps and extremes are lost. A network takes
            either; that it was trained on the other is said.
        text_encoder: name of the frozen encoder; "" in stores of older versions, like the next.
        tokenizer: how sentences become word pieces and windows.
        sentence_rule: version of the rule that splits reports into sentences.

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
    rescale: str = "hu"
    text_encoder: str = ""
    tokenizer: str = ""
    sentence_rule: str = ""

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
        values = self.to_dict()
        # Fields of later versions count where they say something: older hashes stay valid.
        return _hash({k: v for k, v in values.items() if _LATER.get(k) != v})

    @property
    def stored_hash(self) -> str:
        """The same of those fields that shape the volumes of a store."""
        values = self.to_dict()
        return _hash({name: values[name] for name in STORED})

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

        A text field that one of them does not state is no difference.

        Args:
            other: the contract to compare with.
            fields: compare only these, such as `STORED`; all if empty.
        """
        mine, theirs = self.to_dict(), other.to_dict()
        mine = {name: mine[name] for name in fields or mine}
        return [f"{name}: {mine[name]} here, {theirs[name]} there" for name in mine
                if mine[name] != theirs[name] and "" not in (mine[name], theirs[name])]  # fmt: skip


def meet(
    wanted: Contract, found: Contract, name: str, fixed: Collection[str], remedy: str
) -> list[str]:
    """Let a reader with one contract use what was made under another, or refuse.

    Returns (and logs) a line for every field of which the reader's own value is taken.

    Args:
        wanted: the contract of the reader: a network, a run.
        found: the contract of what it reads: a store, features.
        name: of what it reads, for the messages.
        fixed: the fields that must agree: `STORED` for a store, `IMAGE` for features.
        remedy: what to do where they do not.

    Raises:
        DataError: with one line for each fixed field that differs.
    """
    if lines := wanted.differences(found, [f for f in wanted.to_dict() if f in fixed]):
        raise DataError(
            "\n  ".join([f"{name} was made differently:", *lines]) + f"\n{remedy}", "contract"
        )
    converted = wanted.differences(found, [f for f in wanted.to_dict() if f not in fixed])
    if converted:
        log.warning("%s: read by the contract here (%s)", name, "; ".join(converted))
    return converted


def _hash(values: dict[str, Any]) -> str:
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


_CHOICES = {
    "orientation": ("RAS",),
    "interpolation": ("linear", "antialiased"),
    "padding": ("reflect", "air"),
    "rescale": ("hu", "spread_8bit"),
}
_FLOATS = {"spacing_mm", "window_hu"}
_LATER = {"rescale": "hu", "text_encoder": "", "tokenizer": "", "sentence_rule": ""}
