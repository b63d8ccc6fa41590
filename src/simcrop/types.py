"""Names for the tensors that cross a file, so that every signature says the same thing.

Axis words are those of the glossary in `CONTRIBUTING.md`. Voxels without the suffix `_hu` are
normalised to [-1, 1]. `Bool` tensors named `is_masked` are True where hidden from the encoder;
`is_valid` is True where real and False where padding.
"""

from jaxtyping import Bool, Float, Int
from torch import Tensor

Volumes = Float[Tensor, "batch x y z"]
Patches = Float[Tensor, "batch patches patch_voxels"]
PatchMask = Bool[Tensor, "batch patches"]
PatchIndex = Int[Tensor, "batch visible"]
PatchTokens = Float[Tensor, "batch patches dim"]
VisibleTokens = Float[Tensor, "batch visible dim"]
WordIds = Int[Tensor, "batch words"]
WordMask = Bool[Tensor, "batch words"]
WordStates = Float[Tensor, "batch words text_dim"]
SentenceOfWord = Int[Tensor, "batch words"]
SentenceMask = Bool[Tensor, "batch sentences"]
SharedPatches = Float[Tensor, "batch candidates shared"]
SharedSentences = Float[Tensor, "batch sentences shared"]
Scalar = Float[Tensor, ""]
