"""Write configuration.md, the table of every setting, from the configuration tree.

    python docs/reference/make_configuration.py

The descriptions are the docstrings of the fields in `src/simcrop/config`; a test holds
the committed page to what this script makes.
"""

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from simcrop.config.section import Section
from simcrop.recipes import RECIPES
from simcrop.recipes.segmentation import SEGMENTATION_RECIPES

PAGE = Path(__file__).with_name("configuration.md")

HEAD = """\
# Configuration

<!-- Made by docs/reference/make_configuration.py from the configuration tree; edit the docstrings
there, then run the script. -->

Every setting of a run, with its value in the recipe `paper` and, where another recipe differs,
the other value. Change one on the command line, as often as needed, or in a file:

```bash
simcrop pretrain tiny --store store -o run --set alignment.top_k=8 --set optimizer.lr=1e-3
simcrop recipe tiny --set alignment.top_k=8 > mine.yaml   # every setting, to edit
simcrop pretrain mine.yaml --store store -o run
```

The recipes: `paper` is the published setting as far as it is known, `base` the same size with our
first recommendations for the alignment, `base_recommended` with all of them, `tiny` the paper's
form at a size for two CPU cores, `tiny_recommended` that size with our recommendations. KNOWN,
INFERRED and UNKNOWN say how sure a value is, and D-n names a design question; both are explained in
[method.md](../explanation/method.md) and
[differences-from-the-paper.md](../explanation/differences-from-the-paper.md).
"""


SEGMENTATION_HEAD = """\
## Segmentation

Every setting of `simcrop segment train`, with its value in the recipe `segment`. `segment_luna16`
and `segment_btcv` are the authors' two runs, `segment_tiny` is for phantoms with an encoder of the
recipe `tiny`. See [Segment volumes](../how-to/segment.md).
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join(
        [
            HEAD,
            *sections(RECIPES["paper"], RECIPES.values()),
            SEGMENTATION_HEAD,
            *sections(SEGMENTATION_RECIPES["segment"], SEGMENTATION_RECIPES.values(), "###"),
        ]
    )


def sections(base: Section, recipes: Iterable[Section], level: str = "##") -> list[str]:
    """Return the tables of a tree: one for each of its sections, one of what is left."""
    head = (f"| setting | `{base.name}` | meaning |", "|---|---|---|")
    tables, run = [], []
    for name, value in base:
        if isinstance(value, BaseModel):
            others = [(recipe.name, getattr(recipe, name)) for recipe in recipes]
            rows = [row(value, field, f"{name}.", others) for field in type(value).model_fields]
            text = "\n".join([*head, *rows])
            tables.append(f"{level} {name}\n\n{type(value).__doc__}\n\n{text}\n")
        else:
            run.append(row(base, name, "", [(recipe.name, recipe) for recipe in recipes]))
    return [*tables, "\n".join([f"{level} The run\n", *head, *run]) + "\n"]


def row(section: BaseModel, field: str, prefix: str, others: list[tuple[str, BaseModel]]) -> str:
    """Return one setting: its path, its value, its meaning, other recipes' values."""
    description = (type(section).model_fields[field].description or "").replace("\n", " ")
    value = show(getattr(section, field))
    differing: dict[str, list[str]] = {}
    for name, part in others:
        if (other := show(getattr(part, field))) != value and field != "name":
            differing.setdefault(other, []).append(f"`{name}`")
    notes = [f"In {', '.join(names)}: {other}." for other, names in differing.items()]
    meaning = " ".join([description, *notes]).replace("|", "\\|")
    return f"| `{prefix}{field}` | {value} | {meaning} |"


def show(value: object) -> str:
    """Return a value as one types it after `--set`."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(show, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
