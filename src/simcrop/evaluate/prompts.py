"""Findings in words: what states each, what denies it, and whether it is focal or diffuse.

The packaged `prompts.yaml` has the 18 labels of CT-RATE; a file of the same form, for labels and
wordings of your own, is read and checked by `read_prompts`.
"""

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from simcrop.errors import ConfigError, complain

PROMPTS_FILE = Path(__file__).with_name("prompts.yaml")
EXTENTS = ("focal", "diffuse")
_FORM = "label: {positive: [sentence, ...], negative: [sentence, ...], extent: focal or diffuse}"
_REMEDY = f"Write it like {PROMPTS_FILE.name} of simcrop.evaluate."


class Prompts(NamedTuple):
    """Wordings that state a finding and wordings that deny it; its extent, "" where not given."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]
    extent: str = ""


def read_prompts(path: Path = PROMPTS_FILE) -> dict[str, Prompts]:
    """Return the prompts of every label of a YAML file, in its order.

    Raises:
        ConfigError: if the file cannot be read, names a label twice or is not of the form above.
    """
    try:
        table = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(complain(f"{path} cannot be read ({error})", _FORM, _REMEDY)) from error
    if not isinstance(table, dict) or not table:
        raise ConfigError(complain(f"{path} holds {type(table).__name__}", _FORM, _REMEDY))
    return {str(label): _prompts(f"{path}: {label!r}", entry) for label, entry in table.items()}


def _prompts(where: str, entry: Any) -> Prompts:
    known = set(Prompts._fields)
    if not isinstance(entry, dict) or not {"positive", "negative"} <= entry.keys() <= known:
        fields = sorted(map(str, entry)) if isinstance(entry, dict) else repr(entry)
        raise ConfigError(complain(f"{where} has {fields}", _FORM, _REMEDY))
    positive, negative = (_sentences(f"{where}, {n}", entry[n]) for n in ("positive", "negative"))
    if both := set(positive) & set(negative):
        found = f"{where}: {sorted(both)[0]!r} both states and denies the finding"
        raise ConfigError(complain(found, "different sentences", "Remove one."))
    extent = entry.get("extent", "")
    if extent not in ("", *EXTENTS):
        raise ConfigError(complain(f"{where}, extent: {extent!r}", " or ".join(EXTENTS), _REMEDY))
    return Prompts(positive, negative, extent)


def _sentences(where: str, values: Any) -> tuple[str, ...]:
    """Return the sentences of a list; YAML reads a bare `No` or `42` as something else."""
    is_list = isinstance(values, list) and values
    if not is_list or not all(isinstance(v, str) and any(map(str.isalpha, v)) for v in values):
        found = f"{where}: {values!r}"
        raise ConfigError(complain(found, "a list of sentences with words", "Quote each of them."))
    if len(set(values)) < len(values):
        raise ConfigError(complain(f"{where}: a sentence twice", "each once", "Remove one."))
    return tuple(values)


class _UniqueKeys(yaml.SafeLoader):
    """A loader that refuses a key twice, where YAML would keep the last without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"{key!r} stands there twice, {node.start_mark}")
        return super().construct_mapping(node, deep)


PROMPTS = read_prompts()
