"""Names for the tensors that cross many files, so that every signature says the same thing.

Axis words are those of the glossary in `CONTRIBUTING.md`. Voxels without the suffix `_hu` are
normalised to [-1, 1]. `Bool` tensors named `is_masked` are True where hidden from the encoder;
`is_valid` is True where real and False where padding.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Patches = Float[Tensor, "batch patches patch_voxels"]
WordIds = Int[Tensor, "batch words"]
WordMask = Bool[Tensor, "batch words"]
Scalar = Float[Tensor, ""]
