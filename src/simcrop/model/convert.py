"""Other projects' weights by our names: the authors' checkpoint and ImageNet MAE's ViT-B.

Both are vision transformers in timm's layout. The authors' `patch_embed.proj` is a 3-D convolution
of one patch, which is our linear layer on the patch's voxels (x slowest, z fastest), and their
`pos_embed` has a row for the class token and one per patch, in the order of our grid. MAE's patch
embedding, class token and positions belong to photographs and are left behind, as the authors'
merge script leaves them (method.md, section 4).

Source: names as in huggingface/pytorch-image-models, `timm/models/vision_transformer.py`
(Apache-2.0); only the names are used.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from simcrop.geometry import PatchGrid
from simcrop.model.position_embedding import POSITION_EMBEDDINGS

Tensors = Mapping[str, Tensor]

_BLOCK = {
    "norm1": "attention_norm",
    "attn.proj": "attention_output",
    "norm2": "mlp_norm",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2",
}
_ANCHOR = "blocks.0.attn.qkv.weight"


class Transfer(NamedTuple):
    """Weights of a `VisionEncoder`, and what became of the source.

    Attributes:
        tensors: by the names of `VisionEncoder.state_dict`.
        used: names of the source that went into them.
        unused: names of the source that have no place in the encoder.
        missing: names of the encoder that the source does not give.
        position: name of the position table; "stored" if it is none that we can compute.
    """

    tensors: dict[str, Tensor]
    used: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]
    position: str


def prefix_of(source: Tensors) -> str:
    """Return what stands before the encoder's names, as in "module." or "vision_encoder.".

    Files of pre-training also hold `decoder_blocks`, which are no encoder.

    Raises:
        ValueError: if there is no vision transformer in timm's layout, or there are several.
    """
    found = [name for name in source if f".{name}".endswith(f".{_ANCHOR}")]
    if len(found) != 1:
        raise ValueError(
            f"{len(found)} tensors are named {_ANCHOR!r} or end in '.{_ANCHOR}' among "
            f"{len(source)}; expected one vision transformer in timm's layout"
        )
    return found[0].removesuffix(_ANCHOR)


def from_authors(source: Tensors, grid: PatchGrid) -> Transfer:
    """Return the encoder of the authors' checkpoint, positions and class token included.

    Raises:
        ValueError: if the source is no such encoder, or its patches or grid are not ours.
    """
    tensors, used, prefix = _blocks(source)
    kernel = _needed(source, f"{prefix}patch_embed.proj.weight")
    if tuple(kernel.shape[1:]) != (1, *grid.patch_shape):
        raise ValueError(
            f"patch_embed.proj.weight has shape {tuple(kernel.shape)}; expected one channel and "
            f"a patch of {grid.patch_shape} voxels"
        )
    tensors["patch_embedding.projection.weight"] = rearrange(kernel, "d 1 x y z -> d (x y z)")
    tensors["patch_embedding.projection.bias"] = _needed(source, f"{prefix}patch_embed.proj.bias")
    rows = _needed(source, f"{prefix}pos_embed")
    if rows.shape[-2] != 1 + grid.num_patches:
        raise ValueError(
            f"pos_embed has {rows.shape[-2]} rows; expected 1 for the class token and "
            f"{grid.num_patches} patches"
        )
    table = rows.reshape(rows.shape[-2:]).float()
    cls_token = _needed(source, f"{prefix}cls_token").flatten()
    tensors["cls_token"] = cls_token + table[0]  # its position is zero in their file
    position = recognise_positions(table[1:], grid)
    if position == "stored":
        tensors["position"] = table[1:]
    names = ("patch_embed.proj.weight", "patch_embed.proj.bias", "pos_embed", "cls_token")
    return _transfer(source, tensors, [*used, *(prefix + name for name in names)], position)


def from_mae(source: Tensors) -> Transfer:
    """Return blocks and final norm of a 2-D MAE encoder: where the method's training starts.

    Raises:
        ValueError: if the source is no vision transformer in timm's layout.
    """
    tensors, used, _ = _blocks(source)
    return _transfer(source, tensors, used, "sine_cosine_3d")


def recognise_positions(table: Float[Tensor, "patches dim"], grid: PatchGrid) -> str:
    """Return the name of the position table, or "stored" if none of ours equals it to 1e-4."""
    for name, compute in POSITION_EMBEDDINGS.items():
        ours = compute(grid.shape, table.shape[1])
        if torch.allclose(ours, table, rtol=0, atol=1e-4):
            return name
    return "stored"


def _blocks(source: Tensors) -> tuple[dict[str, Tensor], list[str], str]:
    """Return the tensors of blocks and final norm, the source's names used, and the prefix."""
    prefix = prefix_of(source)
    numbers = {
        int(found[1])
        for name in source
        if (found := re.fullmatch(re.escape(prefix) + r"blocks\.(\d+)\..*", name))
    }
    if numbers != set(range(len(numbers))):
        raise ValueError(f"blocks {sorted(numbers)}; expected them numbered from 0 without gap")
    tensors, used = {}, []
    for number in sorted(numbers):
        theirs, ours = f"{prefix}blocks.{number}.", f"blocks.{number}."
        for kind in ("weight", "bias"):
            for name, our_name in _BLOCK.items():
                tensors[f"{ours}{our_name}.{kind}"] = _needed(source, f"{theirs}{name}.{kind}")
                used.append(f"{theirs}{name}.{kind}")
            joint = _needed(source, f"{theirs}attn.qkv.{kind}")
            dim = joint.shape[0] // 3
            tensors[f"{ours}attention.query.{kind}"] = joint[:dim]
            tensors[f"{ours}attention.key_value.{kind}"] = joint[dim:]
            used.append(f"{theirs}attn.qkv.{kind}")
    for kind in ("weight", "bias"):
        if f"{prefix}norm.{kind}" in source:
            tensors[f"norm.{kind}"] = source[f"{prefix}norm.{kind}"]
            used.append(f"{prefix}norm.{kind}")
    return tensors, used, prefix


def _needed(source: Tensors, name: str) -> Tensor:
    if name not in source:
        raise ValueError(f"no tensor {name!r}; expected it beside {_ANCHOR!r}")
    return source[name]


def _transfer(
    source: Tensors, tensors: dict[str, Tensor], used: list[str], position: str
) -> Transfer:
    others = ("cls_token", "norm.weight", "norm.bias")
    others += ("patch_embedding.projection.weight", "patch_embedding.projection.bias")
    missing = tuple(name for name in others if name not in tensors)
    tensors = {name: tensor.float().contiguous() for name, tensor in tensors.items()}
    return Transfer(tensors, tuple(used), tuple(sorted(set(source) - set(used))), missing, position)
