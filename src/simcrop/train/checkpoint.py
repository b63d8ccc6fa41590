"""A checkpoint: safetensors beside a config.json that says how to use it.

    CHECKPOINT/model.safetensors   the networks, and the word ids that the text decoder predicts
    CHECKPOINT/config.json         configuration, preprocessing contract, text encoder, versions

A converted checkpoint holds a vision encoder only and says where it comes from.

Nothing is pickled. Loading is strict: every tensor must be there, and no other.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from simcrop._version import __version__
from simcrop.config import Config, from_mapping
from simcrop.data.atomic import atomic_folder, atomic_path
from simcrop.data.contract import IMAGE, Contract, meet
from simcrop.errors import CheckpointError, ConfigError, DataError, complain
from simcrop.model.simcrop import SimCroP
from simcrop.model.vision_encoder import VisionEncoder
from simcrop.train.networks import build_encoder, build_simcrop, encoder_only
from simcrop.train.pooling import feature_of

FORMAT = 1
_LIBRARIES = ("torch", "lightning", "transformers", "simpleitk", "numpy")


@dataclass(frozen=True)
class Checkpoint:
    """A loaded checkpoint.

    Attributes:
        simcrop: the networks, in evaluation mode.
        config: the configuration they were trained with.
        vocabulary: ids of the words that the text decoder predicts.
        text_fingerprint: of the frozen text encoder's weights.
        step: updates made.
        feature: the feature that probes read by default.
    """

    simcrop: SimCroP
    config: Config
    vocabulary: Tensor
    text_fingerprint: str
    step: int
    feature: str = "post_norm_gap"


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"simcrop": __version__, "python": platform.python_version(), **libraries}


def save_checkpoint(
    folder: Path,
    weights: Mapping[str, Tensor],
    config: Config,
    *,
    vocabulary: Tensor,
    text_dim: int,
    text_fingerprint: str,
    step: int,
    about: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Write a checkpoint in place of the folder, whole: never new weights beside an old step.

    Args:
        folder: the checkpoint folder; whatever it held goes.
        weights: of the networks, by name.
        config: what they were trained with.
        vocabulary: ids of the words that the text decoder predicts.
        text_dim: width of the text encoder.
        text_fingerprint: of its weights.
        step: updates made.
        about: more that config.json is to say.
    """
    text = {"name": config.text.encoder, "dim": text_dim, "fingerprint": text_fingerprint}
    own = {"step": step, "text_encoder": text, "feature": feature_of(config), **about}
    with atomic_folder(folder) as unfinished:
        _write(unfinished, {**weights, "vocabulary": vocabulary}, config, own)


def save_encoder(
    folder: Path,
    encoder: VisionEncoder,
    config: Config,
    *,
    feature: str | None,
    origin: Mapping[str, Any],
) -> None:
    """Write a checkpoint of a vision encoder that was not trained here.

    Args:
        folder: the checkpoint folder.
        encoder: the network.
        config: what describes it; only volume and vision encoder are read again.
        feature: the feature that probes read by default; None says that the encoder is not
            complete and serves only to start a training from.
        origin: where the weights come from.
    """
    text = {"name": None, "dim": 1, "fingerprint": ""}
    about = {"parts": "encoder", "feature": feature, "origin": dict(origin)}
    _write(folder, encoder.state_dict(), config, {"step": 0, "text_encoder": text, **about})


def _write(
    folder: Path, tensors: Mapping[str, Tensor], config: Config, about: Mapping[str, Any]
) -> None:
    contract = config.contract()
    description = {
        "format": FORMAT,
        **about,
        "contract": contract.to_dict(),
        "contract_hash": contract.hash,
        "versions": versions(),
        "config": config.model_dump(mode="json"),
    }
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(folder / "model.safetensors") as path:
        save_file(on_cpu, path, {"format": "pt", "step": str(about["step"])})
    with atomic_path(folder / "config.json") as path:
        path.write_text(json.dumps(description, indent=2), encoding="utf-8")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint folder, or the run folder that holds one.

    Raises:
        CheckpointError: if a file is missing or damaged, or the tensors are not exactly those
            of the networks that the configuration describes.
    """
    folder, description, config, tensors = _read(folder)
    if description.get("parts") == "encoder":
        if description["feature"] is None:
            raise CheckpointError(
                complain(
                    f"{folder} has only parts of an encoder ({description['origin']['source']})",
                    "a complete one",
                    "Start a training from it: --set vision_encoder.init=FOLDER.",
                )
            )
        simcrop, vocabulary = encoder_only(build_encoder(config)), torch.zeros(0).long()
        tensors = {f"vision_encoder.{name}": tensor for name, tensor in tensors.items()}
    else:
        if "vocabulary" not in tensors:
            _refuse(["missing: vocabulary"], folder)
        vocabulary = tensors.pop("vocabulary")
        dim = description["text_encoder"]["dim"]
        simcrop = build_simcrop(config, text_dim=dim, vocabulary_size=len(vocabulary))
    check_tensors(simcrop.state_dict(), tensors, folder)
    simcrop.load_state_dict(tensors)
    return Checkpoint(
        simcrop.eval(),
        config,
        vocabulary,
        description["text_encoder"]["fingerprint"],
        description["step"],
        description.get("feature", "post_norm_gap"),
    )


def initialise_encoder(encoder: VisionEncoder, folder: Path) -> tuple[str, ...]:
    """Put the trained encoder weights of a checkpoint into an encoder that is to be trained.

    Returns the names that the checkpoint does not give and that keep their random start. The
    position table is the encoder's own.

    Raises:
        CheckpointError: if the folder is no checkpoint or its encoder has another size.
    """
    folder, description, _, tensors = _read(folder)
    if description.get("parts") != "encoder":
        prefix = "vision_encoder."
        tensors = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    untrained = description.get("origin", {}).get("untrained", ())
    own = dict(encoder.named_parameters())
    tensors = {name: t for name, t in tensors.items() if name in own and name not in untrained}
    expected = {name: own[name] for name in own if name not in untrained}
    check_tensors(expected, tensors, folder)
    encoder.load_state_dict(tensors, strict=False)
    return tuple(untrained)


def read_checkpoint_config(folder: Path) -> Config:
    """Return the configuration behind a checkpoint, or the run folder that holds one.

    Raises:
        CheckpointError: if the folder is no checkpoint.
    """
    return _read(folder)[2]


def _read(folder: Path) -> tuple[Path, dict[str, Any], Config, dict[str, Tensor]]:
    """Return the checkpoint's folder, description, configuration and tensors."""
    folder = folder / "checkpoint" if (folder / "checkpoint").is_dir() else folder
    description = _read_description(folder)
    try:
        tensors = load_file(folder / "model.safetensors")
        with safe_open(folder / "model.safetensors", "pt") as file:
            step = (file.metadata() or {}).get("step")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            complain(
                f"{folder / 'model.safetensors'} cannot be read ({error})",
                "the weights that `simcrop pretrain` wrote",
                "Copy the checkpoint folder again, or resume the run.",
            )
        ) from error
    if step not in (None, str(description["step"])):  # copied while a run replaced it
        _refuse([f"weights after {step} updates, config.json after {description['step']}"], folder)
    try:
        config = from_mapping(description["config"], str(folder / "config.json"), Config)
    except ConfigError as error:
        raise CheckpointError(
            f"{error}\nThe checkpoint was written by another version, or edited."
        ) from error
    _check_contract(config, description["contract"], folder)
    return folder, description, config, tensors


def _check_contract(config: Config, written: dict[str, Any], folder: Path) -> None:
    """Compare the contract of the training with the one that its configuration means today.

    A text rule that has changed since is logged; volumes must be seen as in the training.
    """
    remedy = "The checkpoint was written by another version, or edited; use that version."
    try:
        trained = Contract.from_dict(written)
        meet(config.contract(), trained, str(folder / "config.json"), IMAGE, remedy)
    except (DataError, ConfigError) as error:
        raise CheckpointError(f"{folder / 'config.json'}: {error}") from error


def _read_description(folder: Path) -> dict[str, Any]:
    expected = "a checkpoint folder with config.json and model.safetensors"
    try:
        description = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            complain(f"{folder} is no checkpoint ({error})", expected, "Check the path.")
        ) from error
    needed = {"format", "config", "text_encoder", "step", "contract"}
    is_ours = isinstance(description, dict) and needed <= description.keys()
    text = description["text_encoder"] if is_ours else None
    if not isinstance(text, dict) or not {"dim", "fingerprint"} <= text.keys():
        raise CheckpointError(
            complain(
                f"{folder / 'config.json'} is not ours",
                f"the fields {sorted(needed)}",
                "Other projects' weights come in by `simcrop convert`.",
            )
        )
    if description["format"] != FORMAT:
        raise CheckpointError(
            complain(
                f"{folder} has format {description['format']}",
                f"format {FORMAT}",
                "Update simcrop.",
            )
        )
    return description


def check_tensors(
    expected: Mapping[str, Tensor], found: Mapping[str, Tensor], folder: Path
) -> None:
    """Refuse tensors that are not exactly those that a network expects.

    Raises:
        CheckpointError: naming what is missing, unexpected or of another shape.
    """
    problems = [f"missing: {name}" for name in sorted(expected.keys() - found.keys())]
    problems += [f"unexpected: {name}" for name in sorted(found.keys() - expected.keys())]
    problems += [
        f"shape of {name}: {tuple(found[name].shape)}, expected {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & found.keys())
        if found[name].shape != expected[name].shape
    ]
    if problems:
        _refuse(problems, folder)


def _refuse(problems: list[str], folder: Path) -> NoReturn:
    raise CheckpointError(
        f"{folder}: the weights do not fit the configuration beside them:\n  "
        + "\n  ".join(problems[:20])
        + "\nCopy config.json and model.safetensors from the same run."
    )
