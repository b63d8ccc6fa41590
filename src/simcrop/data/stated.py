"""What a table states about a volume in place of its own header.

Some public sets keep geometry and intensity scale in a table: the first release of CT-RATE has
blank NIfTI headers and values that are not HU, RadChestCT has bare arrays, CC-CCII 8-bit slices.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from simcrop.data.stack import Stack
from simcrop.errors import DataError, complain

Numbers = tuple[float, ...]

_AIR = (-1100, -900)  # HU of air, wide enough for noise
_SHARE_OF_AIR = 0.05  # of the voxels; a chest has more than ten per cent around and inside it


@dataclass(frozen=True)
class StatedHeader:
    """Geometry and intensity scale of one volume; what is None is taken from the file.

    Attributes:
        spacing_mm: along the array's axes x, y, z.
        direction: nine numbers, row by row; columns are the axes in the LPS world, as in DICOM.
        origin_mm: centre of the first voxel in the LPS world.
        slope: HU = slope * value + intercept.
        intercept: likewise.
        is_8bit: values must lie in 0..255; slope and intercept then spread them over a window.
        series: number of the DICOM series to read where its folder has several, from 1.
    """

    spacing_mm: Numbers | None = None
    direction: Numbers | None = None
    origin_mm: Numbers | None = None
    slope: float = 1.0
    intercept: float = 0.0
    is_8bit: bool = False
    series: int | None = None

    @property
    def has_geometry(self) -> bool:
        """Whether both voxel size and orientation are stated."""
        return self.spacing_mm is not None and self.direction is not None

    def to_json(self) -> str:
        """Return the stated values as one cell of a table."""
        default = StatedHeader()
        stated = {k: v for k, v in asdict(self).items() if v != getattr(default, k)}
        return json.dumps(stated, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "StatedHeader":
        """Return what `to_json` wrote.

        Raises:
            DataError: if the cell is no JSON object of known fields and possible numbers.
        """
        try:
            values = json.loads(text)
            known = {field.name for field in fields(cls)}
            if not isinstance(values, dict) or set(values) - known:
                raise ValueError(f"fields other than {', '.join(sorted(known))}")
            arguments: dict[str, Any] = {
                name: tuple(map(float, value)) if isinstance(value, list) else value
                for name, value in values.items()
            }
            header = cls(**arguments)
            header._check()
        except (ValueError, TypeError) as error:
            raise DataError(
                complain(
                    f"stated header {text!r}: {error}",
                    'JSON like {"spacing_mm": [0.7, 0.7, 1.5], "direction": [1,0,0,0,1,0,0,0,1]}',
                    "Correct the column `header` of volumes.csv.",
                ),
                kind="bad_header",
            ) from error
        return header

    def _check(self) -> None:
        for name, length in (("spacing_mm", 3), ("direction", 9), ("origin_mm", 3)):
            numbers = getattr(self, name)
            if numbers is not None and (
                len(numbers) != length or not all(math.isfinite(number) for number in numbers)
            ):
                raise ValueError(f"{name} {numbers} is not {length} numbers")
        if self.spacing_mm is not None and min(self.spacing_mm) <= 0:
            raise ValueError(f"spacing_mm {self.spacing_mm} is not positive")
        if self.direction is not None:
            axes = np.reshape(self.direction, (3, 3))
            if not np.allclose(axes.T @ axes, np.eye(3), atol=1e-3):
                raise ValueError(f"direction {self.direction} is not three right angles")
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept) and self.slope != 0):
            raise ValueError(f"slope {self.slope}, intercept {self.intercept}")

    def apply(self, stack: Stack, path: Path) -> Stack:
        """Return the stack with the stated geometry and in HU.

        Raises:
            DataError: if the values are in HU already, or not 8-bit where that is stated.
        """
        if self.slope != 1 or self.intercept != 0:
            self._check_values(stack.voxels, path)
            image = sitk.Cast(stack.to_image(), sitk.sitkFloat32) * self.slope + self.intercept
            stack = Stack.of(image, stack.series)
        return replace(
            stack,
            spacing_mm=self.spacing_mm or stack.spacing_mm,
            direction=self.direction or stack.direction,
            origin_mm=self.origin_mm or stack.origin_mm,
        )

    def _check_values(self, voxels: np.ndarray, path: Path) -> None:
        low, high = float(voxels.min()), float(voxels.max())
        if self.is_8bit and not 0 <= low <= high <= 255:
            raise DataError(
                complain(
                    f"{path}: values from {low:g} to {high:g}",
                    "8-bit slices, 0 to 255, as this set is published",
                    "If these are HU, describe the set as an archive of your own.",
                ),
                kind="not_8bit",
            )
        is_air = (voxels > _AIR[0]) & (voxels < _AIR[1])
        if self.intercept <= -1000 and not self.is_8bit and is_air.mean() > _SHARE_OF_AIR:
            raise DataError(
                complain(
                    f"{path}: {100 * is_air.mean():.0f} % of the stored values lie near -1000, and "
                    f"the table would add {self.intercept:g} to them",
                    "values before rescaling, as in the first release of CT-RATE",
                    "These are HU already (second release); put them below train_fixed and "
                    "valid_fixed, where the table is not applied.",
                ),
                kind="rescaled_twice",
            )


def rescale_state(headers: Iterable[str], archive: Path) -> str:
    """Return what the values of an archive's volumes are, as `Contract.rescale` names it.

    Args:
        headers: the column `header` of its volumes; faulty cells are left to their volume.
        archive: its folder, for the message.

    Raises:
        DataError: if some volumes are in HU and others 8-bit.
    """
    states = set()
    for text in headers:
        try:
            states.add("spread_8bit" if text and StatedHeader.from_json(text).is_8bit else "hu")
        except DataError:
            continue
    if len(states) > 1:
        raise DataError(
            complain(
                f"{archive}: volumes in HU and 8-bit volumes side by side",
                "one kind: a network would tell them apart by their grey values",
                "Prepare them into two stores.",
            ),
            kind="mixed_rescale",
        )
    return states.pop() if states else "hu"
