"""Write configuration.md, the table of every setting, from the configuration tree.

    python docs/reference/make_configuration.py

The descriptions are the docstrings of the fields in `src/simcrop/config`; a test holds
the committed page to what this script makes.
"""

from pathlib import Path

from pydantic import BaseModel

from simcrop.recipes import RECIPES

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
recommendations, `tiny` the paper's form at a size for two CPU cores, `tiny_recommended` that size
with our recommendations. KNOWN, INFERRED and UNKNOWN say how sure a value is, and D-n names a
design question; both are explained in [method.md](../explanation/method.md) and
[differences-from-the-paper.md](../explanation/differences-from-the-paper.md).
"""


def page() -> str:
    """Return the whole page."""
    paper = RECIPES["paper"]
    sections, run = [], []
    for name, value in paper:
        if isinstance(value, BaseModel):
            sections.append(f"## {name}\n\n{type(value).__doc__}\n\n{table(value, name)}")
        else:
            run.append(row(paper, name, ""))
    return "\n".join([HEAD, *sections, "## The run\n", *TABLE_HEAD, *run]) + "\n"


TABLE_HEAD = ("| setting | `paper` | meaning |", "|---|---|---|")


def table(section: BaseModel, name: str) -> str:
    """Return the rows of one section."""
    rows = [row(section, field, f"{name}.") for field in type(section).model_fields]
    return "\n".join([*TABLE_HEAD, *rows]) + "\n"


def row(section: BaseModel, field: str, prefix: str) -> str:
    """Return one setting: its path, its value in `paper`, its meaning, other recipes' values."""
    description = (type(section).model_fields[field].description or "").replace("\n", " ")
    value = show(getattr(section, field))
    others: dict[str, list[str]] = {}
    for recipe in RECIPES.values():
        part = getattr(recipe, prefix.rstrip(".")) if prefix else recipe
        if (other := show(getattr(part, field))) != value and field != "name":
            others.setdefault(other, []).append(f"`{recipe.name}`")
    notes = [f"In {', '.join(names)}: {other}." for other, names in others.items()]
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
