"""What the network sees of a CT."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from simcrop.config.section import Axes3, Fraction, Positive, Section, Share


class VolumeConfig(Section):
    """What the network sees of a CT; part of the preprocessing contract."""

    spacing_mm: tuple[Positive, Positive, Positive] = (1.5, 1.5, 3.0)
    """Voxel size after resampling, mm. INFERRED (successor's script, hints in the release)."""
    interpolation: Literal["linear", "antialiased"] = "linear"
    """How values between voxels are found. INFERRED: linear. `antialiased` averages what lies
    within one new voxel width, so every slice counts and noise falls; not what the authors did."""
    window_hu: tuple[float, float] = (-1000.0, 1000.0)
    """HU that become -1 and 1; values outside are clipped. KNOWN."""
    crop_shape: Axes3 = (224, 224, 112)
    """Voxels of the crop along x, y, z. KNOWN."""
    patch_shape: Axes3 = (16, 16, 8)
    """Voxels of a patch along x, y, z. KNOWN."""
    padding: Literal["reflect", "air"] = "reflect"
    """What fills a crop that is larger than the volume. KNOWN: reflect."""


class AugmentationConfig(Section):
    """Random changes of the volume during pre-training."""

    crop_scale: tuple[Share, Share] = (0.8, 1.0)
    """Range of the random sub-box, as a share of each axis. KNOWN (successor)."""
    flip_probability: tuple[Fraction, Fraction, Fraction] = (0.0, 0.2, 0.2)
    """Chance to flip x, y, z. The authors flip x too; left would become right (D-6)."""
    swap_sides: bool = False
    """Where x is flipped, left and right change places in the report; the authors keep its text."""
    shift_probability: Fraction = 0.1
    """Chance of an intensity shift. KNOWN (successor)."""
    shift_range: Annotated[float, Field(ge=0.0)] = 0.1
    """Largest shift, in units of the normalised intensity. KNOWN (successor)."""

    @model_validator(mode="after")
    def _is_in_order(self) -> "AugmentationConfig":
        if self.crop_scale[0] > self.crop_scale[1]:
            raise ValueError(f"crop_scale {self.crop_scale} is not (smallest, largest)")
        return self
