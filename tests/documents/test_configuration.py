"""The reference page of all settings is what its script makes of the configuration tree."""

import runpy

from pages import DOCS
from pydantic import BaseModel

from simcrop.recipes import RECIPES

SCRIPT = DOCS / "reference" / "make_configuration.py"


def test_the_committed_page_is_what_the_script_makes():
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    assert page == runpy.run_path(str(SCRIPT))["page"](), f"run python {SCRIPT.name}, then commit"


def test_every_setting_has_a_description():
    paper = RECIPES["paper"]
    sections = [paper, *(part for _, part in paper if isinstance(part, BaseModel))]
    missing = [
        f"{type(section).__name__}.{name}"
        for section in sections
        for name, field in type(section).model_fields.items()
        if not field.description and not isinstance(getattr(section, name), BaseModel)
    ]
    assert missing == []
