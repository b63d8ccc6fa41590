"""The masked-volume objective: mean squared error on the voxels of hidden patches.

Paper: multi-modal masked modelling, radiograph reconstruction loss.
"""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from simcrop.types import Patches, Scalar


def normalise_patches(patches: Patches, eps: float = 1e-6) -> Patches:
    """Return every patch with mean 0 and variance 1; `eps` keeps constant patches (air) finite."""
    centred = patches - patches.mean(dim=-1, keepdim=True)  # twice as fast as torch.var_mean
    variance = centred.square().sum(dim=-1, keepdim=True) / (patches.shape[-1] - 1)
    return centred / (variance + eps).sqrt()


def patch_loss(
    predicted: Float[Tensor, "batch masked patch_voxels"],
    target: Float[Tensor, "batch masked patch_voxels"],
    *,
    normalise: bool = False,
    is_counted: Bool[Tensor, "batch masked patch_voxels"] | None = None,
    count: Scalar | None = None,
) -> Scalar:
    """Return the mean squared error over the voxels of the hidden patches.

    Args:
        predicted: the decoder's voxels.
        target: the true voxels of the same patches, in [-1, 1].
        normalise: compare with each target patch normalised by itself (MAE's `norm_pix_loss`).
        is_counted: where given, False for voxels that are padding and enter no average.
        count: what to divide by in place of the number of voxels that count here, where a batch
            is computed in parts.

    Differs: the authors' lineage divides by all voxels of the volume, hidden or not, which is
    this value times the mask ratio.
    """
    target = normalise_patches(target) if normalise else target
    squared = F.mse_loss(predicted, target, reduction="none")  # keeps no difference beside it
    if is_counted is not None:
        squared = squared * is_counted
    if count is not None:
        return squared.sum() / count
    if is_counted is None:
        return squared.mean()
    return squared.sum() / is_counted.sum().clamp(min=1)
