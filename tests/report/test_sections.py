import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcrop.errors import DataError
from simcrop.report.sections import Report, clean, make_report, split_sections

MISSING = [
    "",
    " ",
    None,
    math.nan,
    np.nan,
    np.float32("nan"),
    "nan",
    "NaN",
    "Not given",
    "Not given.",
    "N/A",
    "None",
]


@pytest.mark.parametrize("cell", MISSING)
def test_missing_cells_become_empty_text(cell):
    assert make_report("Trachea is open.", cell).full == "Trachea is open."
    assert make_report(cell, "Normal.").full == "Normal."
    assert make_report(cell, cell, cell) == Report()
    assert make_report(cell, cell, cell).is_empty


@pytest.mark.parametrize("cell", ["nan", "Not given."])
def test_missing_text_is_empty_however_the_report_is_made(cell):
    assert Report(cell, cell, (cell,)) == Report()
    assert split_sections(f"FINDINGS: Open.\nIMPRESSION: {cell}") == Report("Open.")


def test_words_that_contain_a_missing_marker_stay():
    assert make_report("Nanometre.", "None of the nodules grew.").impression.startswith("None of")


def test_full_text_is_findings_then_impression():
    assert make_report("Trachea is open.", "Normal chest.").full == "Trachea is open. Normal chest."


@pytest.mark.parametrize(
    "cell", ['["First, with a | in it.", "Second."]', "First, with a / in it.| Second.", "|A.||B.|"]
)
def test_sentences_are_a_json_list_or_separated_by_bars(cell):
    report = make_report("", "", cell)
    assert len(report.sentences) == 2
    assert report.findings == " ".join(report.sentences)
    assert not report.is_empty


@pytest.mark.parametrize("cell", ['["First.', "[1, 2]", '[{"a": 1}]'])
def test_damaged_sentences_are_refused(cell):
    with pytest.raises(DataError, match="JSON list"):
        make_report("", "", cell)


@pytest.mark.parametrize(
    ("text", "findings", "impression"),
    [
        ("FINDINGS: Open. IMPRESSION: Normal.", "Open.", "Normal."),
        ("Findings:\nOpen.\n\nImpression:\nNormal.", "Open.", "Normal."),
        ("TECHNIQUE: CT.\nFINDINGS:\nOpen.\nCONCLUSION:\nNormal.", "Open.", "Normal."),
        ("## Findings\nOpen.\n## Impression\nNormal.", "Open.", "Normal."),
        ("**FINDINGS:** Open.\n**IMPRESSION:** Normal.", "Open.", "Normal."),
        ("FINDINGS\nOpen.\nIMPRESSION\nNormal.", "Open.", "Normal."),
        ("Open.\nIMPRESSION : Normal.", "Open.", "Normal."),
        ("IMPRESSION: Normal.\nFINDINGS: Open.", "Open.", "Normal."),
        ("IMPRESSION: Normal.", "", "Normal."),
        ("Findings are normal. The impression is unchanged.", None, ""),
        ("FINDINGS: Open.\nCLINICAL HISTORY: cough\nIMPRESSION: Not given.", "Open.", ""),
        ("FINDINGS: Lungs: clear.\nHeart: normal.", "Lungs: clear.\nHeart: normal.", ""),
        ("", "", ""),
    ],
)
def test_sections_are_found_by_their_headers(text, findings, impression):
    report = split_sections(text)
    assert report.findings == (text if findings is None else findings)
    assert report.impression == impression


def test_clean_follows_upstream():
    assert clean("Cyst (simple?): 3.5 mm; stable.") == "Cyst ( simple ) , 3.5 mm, stable."


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text):
    assert clean(clean(text)) == clean(text)
    assert not set("?:;") & set(clean(text))
