"""Weight files as other projects write them, and the authors' forward pass, stated again."""

import math
from argparse import Namespace

import torch
import torch.nn.functional as F

from simcrop.model.position_embedding import sine_cosine_3d, two_axis
from simcrop.recipes import RECIPES

TINY = RECIPES["tiny"]
GRID = TINY.contract().patch_grid
DIM, DEPTH, HEADS = TINY.vision_encoder.dim, TINY.vision_encoder.depth, TINY.vision_encoder.heads
PHOTOGRAPHS = {"kernel": (3, 16, 16), "rows": 197}


def timm_names(depth=DEPTH, kernel=(1, *GRID.patch_shape), rows=1 + GRID.num_patches):
    """Return random weights as timm names them."""
    draw = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=draw) * 0.1

    weights = {
        "cls_token": random(1, 1, DIM),
        "pos_embed": random(1, rows, DIM),
        "patch_embed.proj.weight": random(DIM, *kernel),
        "patch_embed.proj.bias": random(DIM),
        "norm.weight": 1 + random(DIM),
        "norm.bias": random(DIM),
    }
    for i in range(depth):
        for name, rows_, columns in (
            ("attn.qkv", 3 * DIM, DIM),
            ("attn.proj", DIM, DIM),
            ("mlp.fc1", 4 * DIM, DIM),
            ("mlp.fc2", DIM, 4 * DIM),
        ):
            weights[f"blocks.{i}.{name}.weight"] = random(rows_, columns)
            weights[f"blocks.{i}.{name}.bias"] = random(rows_)
        for name in ("norm1", "norm2"):
            weights[f"blocks.{i}.{name}.weight"] = 1 + random(DIM)
            weights[f"blocks.{i}.{name}.bias"] = random(DIM)
    return weights


def pretraining_file(weights):
    """Return what a training in MAE's manner saves: no part of it but the encoder has a place."""
    decoder = {f"decoder_{name}": w for name, w in timm_names(depth=2).items() if "cls" not in name}
    text = {
        "mask_token": torch.zeros(1, 1, DIM),
        "decoder_embed.weight": torch.zeros(3, DIM),
        "bert_encoder.bert.encoder.layer.0.attention.self.query.weight": torch.zeros(3, 3),
        "bert_encoder.cls.predictions.bias": torch.zeros(3),
    }
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], betas=(0.9, 0.95))
    optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
    optimizer.step()
    return {
        "model": {**weights, **decoder, **text},
        "optimizer": optimizer.state_dict(),
        "epoch": 130,
        "scaler": {"scale": 65536.0, "growth_interval": 2000, "_growth_tracker": 3},
        "args": Namespace(batch_size=14, lr=None, device="cuda", betas=(0.9, 0.95), bf16=False),
    }


def authors_weights(table="two_axis", config=TINY):
    """Return a file's content as the authors write it."""
    grid = config.contract().patch_grid
    depth = config.vision_encoder.depth
    weights = timm_names(depth, kernel=(1, *grid.patch_shape), rows=1 + grid.num_patches)
    tables = {
        "two_axis": two_axis(grid.shape, DIM),
        "sine_cosine_3d": sine_cosine_3d(grid.shape, DIM),
    }
    if table in tables:
        weights["pos_embed"] = F.pad(tables[table], (0, 0, 1, 0))[None]
    return pretraining_file(weights)


def authors_features(weights, voxels):
    """The authors' probe, written again from the description of its forward pass.

    A strided 3-D convolution, class token and positions, blocks of explicit attention; the
    feature is the mean of the patch tokens after the last block, before the norm.
    """
    kernel = weights["patch_embed.proj.weight"]
    tokens = F.conv3d(
        voxels[:, None], kernel, weights["patch_embed.proj.bias"], stride=kernel.shape[2:]
    )
    tokens = tokens.flatten(start_dim=2).transpose(1, 2)
    tokens = torch.cat([weights["cls_token"].expand(len(voxels), -1, -1), tokens], dim=1)
    tokens = tokens + weights["pos_embed"]
    B, N, _ = tokens.shape
    for i in range(sum(n.startswith("blocks.") and n.endswith("qkv.bias") for n in weights)):
        own = f"blocks.{i}."
        part = {n.removeprefix(own): w for n, w in weights.items() if n.startswith(own)}
        x = F.layer_norm(tokens, (DIM,), part["norm1.weight"], part["norm1.bias"], eps=1e-6)
        x = F.linear(x, part["attn.qkv.weight"], part["attn.qkv.bias"])
        q, k, v = x.reshape(B, N, 3, HEADS, DIM // HEADS).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-2, -1) / math.sqrt(DIM // HEADS)).softmax(dim=-1)
        x = (attention @ v).transpose(1, 2).reshape(B, N, DIM)
        tokens = tokens + F.linear(x, part["attn.proj.weight"], part["attn.proj.bias"])
        x = F.layer_norm(tokens, (DIM,), part["norm2.weight"], part["norm2.bias"], eps=1e-6)
        x = F.gelu(F.linear(x, part["mlp.fc1.weight"], part["mlp.fc1.bias"]))
        tokens = tokens + F.linear(x, part["mlp.fc2.weight"], part["mlp.fc2.bias"])
    return tokens[:, 1:].mean(dim=1)
