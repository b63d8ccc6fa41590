"""From another project's weight file to a checkpoint folder of ours, which holds an encoder only.

    authors   a complete encoder: embed, probe and segment with it, or start a training from it
    mae       blocks and final norm of an ImageNet MAE ViT-B: only to start a training from

Files are read as safetensors or through torch's `weights_only`, which runs no code. Pre-training
files in MAE's manner hold their command line beside the weights, as an `argparse.Namespace`. That
class is let through too: it holds attributes and does nothing when it is built.
"""

import hashlib
from argparse import Namespace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from simcrop.config import Config
from simcrop.errors import CheckpointError, complain
from simcrop.model.convert import Transfer, from_authors, from_mae
from simcrop.train.checkpoint import save_encoder
from simcrop.train.networks import build_encoder

SOURCES = ("authors", "mae")


def convert(path: Path, source: str, config: Config, output: Path) -> Transfer:
    """Write the encoder of a foreign file as a checkpoint folder and tell what was taken.

    Args:
        path: .pth, .pt, .ckpt or .safetensors.
        source: one of `SOURCES`.
        config: gives crop, patches, window and size of the encoder; `paper` for the authors'.
        output: the folder to write.

    Raises:
        CheckpointError: if the file cannot be read without running code, is no such encoder, or
            does not fit the configuration.
        ValueError: if the source is unknown.
    """
    if source not in SOURCES:
        raise ValueError(f"source {source!r}; choose one of {', '.join(SOURCES)}")
    tensors = read_tensors(path)
    try:
        if source == "mae":
            transfer = from_mae(tensors)
        else:
            transfer = from_authors(tensors, config.contract().patch_grid)
    except ValueError as error:
        raise CheckpointError(
            f"{path}: {error}. Check the file, --source and --recipe; nothing was written."
        ) from error
    vision = config.vision_encoder.model_copy(update={"position": transfer.position, "init": None})
    config = config.model_copy(update={"vision_encoder": vision, "name": source})
    encoder = build_encoder(config)
    _check_shapes(path, encoder.state_dict(), transfer.tensors)
    encoder.load_state_dict(transfer.tensors, strict=False)
    save_encoder(
        output,
        encoder,
        config,
        feature="pre_norm_gap" if source == "authors" else None,
        origin={
            "source": source,
            "file": path.name,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "untrained": list(transfer.missing),
        },
    )
    return transfer


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the named tensors of a weight file, wherever in it they are nested.

    Raises:
        CheckpointError: if the file is missing, damaged, holds anything that could run code, or has
            no named tensors.
    """
    try:
        if path.suffix == ".safetensors":
            content: Any = load_file(path)
        else:
            with torch.serialization.safe_globals([Namespace]):
                content = torch.load(path, weights_only=True, map_location="cpu")
    except (OSError, EOFError, RuntimeError, UnpicklingError, SafetensorError) as error:
        raise CheckpointError(
            complain(
                f"{path} cannot be read ({type(error).__name__}: {str(error)[:200]!r})",
                "tensors, plain values and an argparse.Namespace, by safetensors or torch.save",
                "Copy it again; from a file that holds more, save its state_dict alone.",
            )
        ) from error
    content = content if isinstance(content, dict) else {}
    for key in ("model", "state_dict", "model_state_dict"):
        if isinstance(content.get(key), dict):
            content = content[key]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)}
    if not tensors:
        raise CheckpointError(
            complain(f"{path} holds no named tensors", "a state_dict", "Check the file.")
        )
    return tensors


def _check_shapes(path: Path, ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    problems = [
        f"{name}: {tuple(tensor.shape)}, expected {tuple(ours[name].shape)}"
        if name in ours
        else f"{name}: has no place"
        for name, tensor in theirs.items()
        if name not in ours or tensor.shape != ours[name].shape
    ]
    num_blocks = len({name.split(".")[1] for name in ours if name.startswith("blocks.")})
    if f"blocks.{num_blocks - 1}.attention.query.weight" not in theirs:
        problems.append(f"fewer than {num_blocks} blocks")
    if problems:
        raise CheckpointError(
            f"{path} does not fit the encoder of the recipe:\n  "
            + "\n  ".join(problems[:10])
            + "\nName the recipe that has its size by --recipe."
        )
