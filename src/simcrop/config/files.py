"""The tree as YAML, and single settings from the command line.

A run folder holds the tree it was started with, every default spelled out, and restarts from it
alone.
"""

from pathlib import Path

import yaml
from pydantic import ValidationError

from simcrop.config.section import Section, Tree
from simcrop.config.tree import Config
from simcrop.errors import ConfigError, complain


def from_mapping(values: object, source: str, tree: type[Tree]) -> Tree:
    """Return the tree (`Config`, `SegmentationConfig`) for plain values.

    Raises:
        ConfigError: naming the path of every field that is unknown, missing or impossible.
    """
    try:
        return tree.model_validate(values)
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, e['loc'])) or 'configuration'}: "
            + e["msg"].removeprefix("Value error, ")
            for e in error.errors()
        ]
        raise ConfigError(f"{source}:\n  " + "\n  ".join(lines)) from error


def read_config(path: Path, tree: type[Tree]) -> Tree:
    """Read a tree from a YAML file.

    Raises:
        ConfigError: if the file is missing, not YAML, or does not describe a possible run.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(
            complain(
                f"{path} cannot be read ({error})",
                "a YAML file as `simcrop pretrain` writes it into a run folder",
                "Start from `simcrop recipe NAME`.",
            )
        ) from error
    return from_mapping(values, str(path), tree)


def write_config(config: Section, path: Path) -> None:
    """Write a tree as YAML with every default spelled out."""
    path.write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False), "utf-8")


def override(config: Tree, settings: list[str]) -> Tree:
    """Return the tree with `path.to.field=value` settings applied; values are YAML.

    Raises:
        ConfigError: if a setting has no "=", names a field that does not exist, or its value
            cannot be read or is impossible.
    """
    values = config.model_dump(mode="json")
    for setting in settings:
        path, equals, text = setting.partition("=")
        *parents, field = path.strip().split(".")
        section = values
        for parent in parents:
            section = section.get(parent) if isinstance(section, dict) else None
        if not equals or not isinstance(section, dict) or field not in section:
            raise ConfigError(
                complain(
                    f"--set {setting!r}",
                    "a field of the configuration, as in optimizer.lr=1e-4",
                    "`simcrop recipe NAME` prints all fields.",
                )
            )
        section[field] = _parse(text, setting)
    return from_mapping(values, "--set", type(config))


def located(config: Config) -> Config:
    """Return the tree with folders named by their absolute paths, as a run folder keeps it.

    A run is then resumed from any place; names on the hub stay.
    """
    encoder, init = config.text.encoder, config.vision_encoder.init
    return config.model_copy(
        update={
            "text": config.text.model_copy(update={"encoder": _absolute(encoder)}),
            "vision_encoder": config.vision_encoder.model_copy(
                update={"init": None if init is None else _absolute(init)}
            ),
        }
    )


def _absolute(name: str) -> str:
    folder = Path(name).expanduser()
    return str(folder.absolute()) if folder.is_dir() and name != "packaged" else name


def _parse(text: str, setting: str) -> object:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            complain(f"--set {setting!r}", "a value as in YAML", "Close its brackets and quotes.")
        ) from error
    if value == text:  # YAML 1.1 reads 1e-4 as text; what stands in quotes is meant as text
        try:
            return float(value)
        except ValueError:
            return value
    return value
