"""The kinds of faults: one list, used by the code and shown to users."""

import re
from pathlib import Path

from simcrop.data.faults import FAULTS

ROOT = Path(__file__).parents[3]
TABLE_WIDE = {"missing_table", "not_a_table", "wrong_encoding", "missing_column",
              "duplicate_identifier", "no_patient", "patient_in_two_splits", "unknown_split",
              "unknown_label", "bad_mask_value", "unreachable", "not_writable",
              "worker_died", "no_scheduler"}  # fmt: skip


def test_the_page_shows_every_kind_that_a_volume_or_study_can_have():
    page = (ROOT / "docs/explanation/data-formats.md").read_text()
    table = page[page.index("| `kind` | what it is") :]
    shown = set()
    for line in table.splitlines():
        if line.startswith("| `"):
            shown |= set(re.findall(r"`(\w+)`", line.split("|")[1]))
    assert shown - {"kind"} == set(FAULTS) - TABLE_WIDE


def test_reading_raises_no_other_kind():
    names = "reading zipped arrays lungs volume_checks preprocessing plan jobs stated dicom"
    code = "".join((ROOT / f"src/simcrop/data/{name}.py").read_text() for name in names.split())
    raised = set(re.findall(r'^ +(?:kind=)?"(\w+)",?$', code, re.MULTILINE))
    raised |= set(re.findall(r'return "(\w+)", ', code))
    raised = {word for word in raised if word.islower()}  # DICOM's own words are capitalised
    assert raised <= set(FAULTS)
    assert len(raised) > 20
