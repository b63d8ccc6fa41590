"""Who `benchmarks/pretrain_step.py` compares: four ways to the same masked-volume loss.

`ours` is the package. `monai` is MONAI's MaskedAutoEncoderViT. `plain` is a masked autoencoder in
the layout of the 2-D original, written from the formulae: a strided Conv3d on all patches, one
layer for query, key and value, attention written out, tokens put back in order, every block on
every token. `transformers` has the same layout with the ViT-MAE layers of transformers on torch's
fused attention. All have the weights, hidden patches and voxels of one seed.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from simcrop.geometry import PatchGrid
from simcrop.model.patch_masking import PatchMasking, gather, mask_patches
from simcrop.model.transformer import PreNormBlock
from simcrop.model.vision_decoder import VisionDecoder
from simcrop.model.vision_encoder import VisionEncoder
from simcrop.objectives.reconstruction import patch_loss
from simcrop.train.machine import give_back_large_blocks

RATIO, SEED = 0.75, 0


class Size(NamedTuple):
    """What is trained on: crop, patch, (width, depth, heads) of both networks, volumes."""

    crop: tuple[int, int, int]
    patch: tuple[int, int, int]
    encoder: tuple[int, int, int]
    decoder: tuple[int, int, int]
    batch: int = 1

    @property
    def grid(self) -> PatchGrid:
        """Geometry of crop and patches."""
        return PatchGrid(self.crop, self.patch)


class Contestant:
    """Something that trains: its optimizer, fused AdamW unless one is given, and its loss."""

    def __init__(
        self, trained: Iterable[nn.Parameter] | Optimizer, loss: Callable[[], Tensor]
    ) -> None:
        is_optimizer = isinstance(trained, Optimizer)
        self.loss = loss
        self.optimizer = trained if is_optimizer else AdamW(trained, lr=1e-4, fused=True)

    def step(self) -> float:
        """Make one update; return the loss before it."""
        loss = self.loss()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())


class PlainLayer(nn.Module):
    """A transformer block with its attention matrix written out."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (dim // heads) ** -0.5
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=1e-6), nn.LayerNorm(dim, eps=1e-6)
        self.qkv, self.projection = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.activation = nn.GELU()

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens after attention and MLP."""
        qkv = self.qkv(self.norm1(tokens))
        q, k, v = rearrange(qkv, "b n (three h d) -> three b h n d", three=3, h=self.heads)
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(dim=-1)
        tokens = tokens + self.projection(rearrange(weights @ v, "b h n d -> b n (h d)"))
        return tokens + self.fc2(self.activation(self.fc1(self.norm2(tokens))))

    def take(self, ours: PreNormBlock) -> None:
        """Copy the weights of our block."""
        own = ours.attention
        _copy(self.qkv, own.query, own.key_value)
        pairs = (
            (self.projection, ours.attention_output), (self.fc1, ours.mlp[0]),
            (self.fc2, ours.mlp[2]), (self.norm1, ours.attention_norm), (self.norm2, ours.mlp_norm),
        )  # fmt: skip
        for theirs, one in pairs:
            theirs.load_state_dict(one.state_dict())


class FusedLayer(nn.Module):
    """A ViT-MAE layer of transformers with its SDPA attention."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        from transformers import ViTMAEConfig
        from transformers.models.vit_mae.modeling_vit_mae import ViTMAELayer

        config = ViTMAEConfig(
            hidden_size=dim, num_attention_heads=heads, intermediate_size=4 * dim,
            layer_norm_eps=1e-6, attn_implementation="sdpa",
        )  # fmt: skip
        self.layer = ViTMAELayer(config)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the tokens after attention and MLP."""
        return self.layer(tokens)

    def take(self, ours: PreNormBlock) -> None:
        """Copy the weights of our block."""
        attention, mlp = self.layer.attention, self.layer.mlp
        key_value = ours.attention.key_value
        for i, theirs in enumerate((attention.k_proj, attention.v_proj)):
            with torch.no_grad():
                theirs.weight.copy_(key_value.weight.chunk(2)[i])
                theirs.bias.copy_(key_value.bias.chunk(2)[i])
        pairs = (
            (attention.q_proj, ours.attention.query), (attention.o_proj, ours.attention_output),
            (mlp.fc1, ours.mlp[0]), (mlp.fc2, ours.mlp[2]),
            (self.layer.layernorm_before, ours.attention_norm),
            (self.layer.layernorm_after, ours.mlp_norm),
        )  # fmt: skip
        for theirs, one in pairs:
            theirs.load_state_dict(one.state_dict())


class MaeLayout(nn.Module):
    """The masked autoencoder as the 2-D original lays it out, with the layers that are given."""

    def __init__(self, size: Size, layer: type[PlainLayer] | type[FusedLayer]) -> None:
        super().__init__()
        (dim, depth, heads), (width, layers, decoder_heads) = size.encoder, size.decoder
        self.grid = size.grid
        self.embedding = nn.Conv3d(1, dim, size.patch, stride=size.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("position", torch.zeros(1, self.grid.num_patches + 1, dim))
        self.register_buffer("decoder_position", torch.zeros(1, self.grid.num_patches + 1, width))
        self.blocks = nn.ModuleList([layer(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.to_decoder = nn.Linear(dim, width)
        self.decoder_blocks = nn.ModuleList([layer(width, decoder_heads) for _ in range(layers)])
        self.decoder_norm = nn.LayerNorm(width, eps=1e-6)
        self.head = nn.Linear(width, self.grid.patch_voxels)

    def forward(self, voxels: Tensor, order: Tensor, num_visible: int) -> Tensor:
        """Return the loss: the mean over the voxels of hidden patches."""
        B, N = order.shape
        tokens = self.embedding(voxels).flatten(2).transpose(1, 2) + self.position[:, 1:]
        tokens = _rows(tokens, order[:, :num_visible])
        cls_token = (self.cls_token + self.position[:, :1]).expand(B, -1, -1)
        tokens = torch.cat([cls_token, tokens], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.to_decoder(self.norm(tokens))
        hidden = self.mask_token.repeat(B, N - num_visible, 1)
        in_order = _rows(torch.cat([tokens[:, 1:], hidden], dim=1), order.argsort(dim=1))
        tokens = torch.cat([tokens[:, :1], in_order], dim=1) + self.decoder_position
        for block in self.decoder_blocks:
            tokens = block(tokens)
        predicted = self.head(self.decoder_norm(tokens))[:, 1:]
        is_hidden = torch.ones(B, N).scatter(1, order[:, :num_visible], 0.0)
        return _masked_mean(predicted, self.grid.cut(voxels[:, 0]), is_hidden)

    def take(self, encoder: VisionEncoder, decoder: VisionDecoder) -> None:
        """Copy the weights of our networks."""
        linear = encoder.patch_embedding.projection
        with torch.no_grad():
            self.embedding.weight.copy_(linear.weight.reshape(self.embedding.weight.shape))
            self.embedding.bias.copy_(linear.bias)
            self.cls_token.copy_(encoder.cls_token)
            self.mask_token.copy_(decoder.mask_token)
        self.position[:, 1:], self.decoder_position[:, 1:] = encoder.position, decoder.position
        for theirs, ours in (
            *zip(self.blocks, encoder.blocks, strict=True),
            *zip(self.decoder_blocks, decoder.blocks, strict=True),
        ):
            theirs.take(ours)
        self.norm.load_state_dict(encoder.norm.state_dict())
        self.to_decoder.load_state_dict(decoder.embedding.state_dict())
        self.decoder_norm.load_state_dict(decoder.norm.state_dict())
        self.head.load_state_dict(decoder.head.state_dict())


def build(name: str, size: Size) -> Contestant:
    """Return a contestant with the weights, voxels and hidden patches of the seed."""
    voxels, masking = inputs(size)
    encoder, decoder = our_networks(size)
    if name == "ours":
        networks = nn.ModuleList([encoder, decoder])
        give_back_large_blocks(networks)  # as `simcrop pretrain` does
        return Contestant(
            networks.parameters(), lambda: our_loss(encoder, decoder, voxels, masking)
        )
    if name == "monai":
        network = _monai(size, encoder, decoder)
        target, hidden = size.grid.cut(voxels), masking.is_masked.float()
        loss = lambda: _masked_mean(network(voxels[:, None])[0], target, hidden)  # noqa: E731
        # It draws the visible patches in its forward pass: the draw is replaced by ours.
        torch.multinomial = lambda *args, **kwargs: masking.visible
    else:
        network = MaeLayout(size, PlainLayer if name == "plain" else FusedLayer)
        network.take(encoder, decoder)
        order, num_visible = torch.cat(masking, dim=1), masking.visible.shape[1]
        loss = lambda: network(voxels[:, None], order, num_visible)  # noqa: E731
    return Contestant([*_trained(network)], loss)


def our_networks(size: Size) -> tuple[VisionEncoder, VisionDecoder]:
    torch.manual_seed(SEED)
    (dim, depth, heads), (width, layers, decoder_heads) = size.encoder, size.decoder
    encoder = VisionEncoder(size.grid, dim=dim, depth=depth, heads=heads)
    return encoder, VisionDecoder(
        size.grid, encoder_dim=dim, dim=width, depth=layers, heads=decoder_heads
    )


def our_loss(
    encoder: VisionEncoder, decoder: VisionDecoder, voxels: Tensor, masking: PatchMasking
) -> Tensor:
    patches = encoder.grid.cut(voxels)
    cls_token, tokens, _ = encoder(patches, masking.visible)
    return patch_loss(decoder(cls_token, tokens, masking), gather(patches, masking.masked))


def inputs(size: Size) -> tuple[Tensor, PatchMasking]:
    draw = torch.Generator().manual_seed(SEED)
    voxels = torch.rand(size.batch, *size.crop, generator=draw) * 2 - 1
    return voxels, mask_patches(size.batch, size.grid.num_patches, RATIO, draw)


def _monai(size: Size, encoder: VisionEncoder, decoder: VisionDecoder) -> nn.Module:
    from monai.networks.nets import MaskedAutoEncoderViT

    sys.path.append(str(Path(__file__).parents[1] / "tests" / "parity"))
    from monai_weights import copy_masked_autoencoder, set_epsilon

    (dim, depth, heads), (width, layers, decoder_heads) = size.encoder, size.decoder
    network = MaskedAutoEncoderViT(
        1, size.crop, size.patch, hidden_size=dim, mlp_dim=4 * dim, num_layers=depth,
        num_heads=heads, decoder_hidden_size=width, decoder_mlp_dim=4 * width,
        decoder_num_layers=layers, decoder_num_heads=decoder_heads, qkv_bias=True,
        # Its sine-cosine table refuses widths that are no multiple of 6, such as 512.
        pos_embed_type="learnable", decoder_pos_embed_type="learnable",
    )  # fmt: skip
    set_epsilon(network)
    copy_masked_autoencoder(encoder, decoder, network)
    network.patch_embedding.position_embeddings.requires_grad_(False)
    network.decoder_pos_embedding.requires_grad_(False)
    return network


def _trained(network: nn.Module) -> Iterator[nn.Parameter]:
    return (p for p in network.parameters() if p.requires_grad)


def _masked_mean(predicted: Tensor, target: Tensor, is_hidden: Tensor) -> Tensor:
    per_patch = (predicted - target).square().mean(dim=-1)
    return (per_patch * is_hidden).sum() / is_hidden.sum()


def _rows(tokens: Tensor, index: Tensor) -> Tensor:
    return torch.gather(tokens, 1, index[:, :, None].expand(-1, -1, tokens.shape[-1]))


def _copy(theirs: nn.Linear, *ours: nn.Linear) -> None:
    with torch.no_grad():
        theirs.weight.copy_(torch.cat([layer.weight for layer in ours]))
        theirs.bias.copy_(torch.cat([layer.bias for layer in ours]))
