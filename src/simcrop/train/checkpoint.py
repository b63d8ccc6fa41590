"""A checkpoint: safetensors beside a config.json that says how to use it.

    CHECKPOINT/model.safetensors   the networks, and the word ids that the text decoder predicts
    CHECKPOINT/config.json         configuration, preprocessing contract, text encoder, versions

Nothing is pickled. Loading is strict: every tensor must be there, and no other.
"""

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from simcrop._version import __version__
from simcrop.config import Config, from_mapping
from simcrop.data.atomic import atomic_path
from simcrop.errors import CheckpointError, ConfigError, complain
from simcrop.model.simcrop import SimCroP
from simcrop.train.networks import build_simcrop

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
    """

    simcrop: SimCroP
    config: Config
    vocabulary: Tensor
    text_fingerprint: str
    step: int


def versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    libraries = {name: version(name) for name in _LIBRARIES}
    return {"simcrop": __version__, "python": platform.python_version(), **libraries}


def save_checkpoint(
    folder: Path,
    simcrop: SimCroP,
    config: Config,
    *,
    vocabulary: Tensor,
    text_dim: int,
    text_fingerprint: str,
    step: int,
) -> None:
    """Write a checkpoint; each file is replaced whole, the weights first."""
    contract = config.volume.contract()
    tensors = {name: t.detach().cpu().contiguous() for name, t in simcrop.state_dict().items()}
    description = {
        "format": FORMAT,
        "step": step,
        "contract": contract.to_dict(),
        "contract_hash": contract.hash,
        "text_encoder": {
            "name": config.text.encoder,
            "dim": text_dim,
            "fingerprint": text_fingerprint,
        },
        "versions": versions(),
        "config": config.model_dump(mode="json"),
    }
    with atomic_path(folder / "model.safetensors") as path:
        save_file({**tensors, "vocabulary": vocabulary.cpu()}, path, {"format": "pt"})
    with atomic_path(folder / "config.json") as path:
        path.write_text(json.dumps(description, indent=2), encoding="utf-8")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint folder, or the run folder that holds one.

    Raises:
        CheckpointError: if a file is missing or damaged, or the tensors are not exactly those
            of the networks that the configuration describes.
    """
    folder = folder / "checkpoint" if (folder / "checkpoint").is_dir() else folder
    description = _read_description(folder)
    try:
        tensors = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            complain(
                f"{folder / 'model.safetensors'} cannot be read ({error})",
                "the weights that `simcrop pretrain` wrote",
                "Copy the checkpoint folder again, or resume the run.",
            )
        ) from error
    try:
        config = from_mapping(description["config"], str(folder / "config.json"))
    except ConfigError as error:
        raise CheckpointError(
            f"{error}\nThe checkpoint was written by another version, or edited."
        ) from error
    if "vocabulary" not in tensors:
        _refuse(["missing: vocabulary"], folder)
    vocabulary = tensors.pop("vocabulary")
    text = description["text_encoder"]
    simcrop = build_simcrop(config, text_dim=text["dim"], vocabulary_size=len(vocabulary))
    _check_tensors(simcrop.state_dict(), tensors, folder)
    simcrop.load_state_dict(tensors)
    return Checkpoint(simcrop.eval(), config, vocabulary, text["fingerprint"], description["step"])


def _read_description(folder: Path) -> dict[str, Any]:
    expected = "a checkpoint folder with config.json and model.safetensors"
    try:
        description = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            complain(f"{folder} is no checkpoint ({error})", expected, "Check the path.")
        ) from error
    needed = {"format", "config", "text_encoder", "step", "contract_hash"}
    is_ours = isinstance(description, dict) and needed <= description.keys()
    text = description["text_encoder"] if is_ours else None
    if not isinstance(text, dict) or not {"dim", "fingerprint"} <= text.keys():
        raise CheckpointError(
            complain(
                f"{folder / 'config.json'} is not ours",
                f"the fields {sorted(needed)}",
                "Other projects' weights have to be converted first.",
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


def _check_tensors(
    expected: Mapping[str, Tensor], found: Mapping[str, Tensor], folder: Path
) -> None:
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
