"""The page of a result folder opens from disk and hides neither note nor provenance."""

import re

from simcrop.evaluate.figures import new_figure
from simcrop.evaluate.results import Drawing, NamedSet, Result
from simcrop.evaluate.tables import Table
from simcrop.view.result_page import write_result_page


def test_the_page_holds_tables_pictures_note_and_provenance(tmp_path):
    result = Result(
        command="probe",
        figures={},
        sets={"test": NamedSet("abcd", 1200)},
        contract_hash="f00d",
        seeds=(3,),
        versions={"simcrop": "9.9"},
        settings={"head": "<paper>", "fractions": (0.1, 1.0)},
        note="selected on test",
        tables={"Every figure.": Table(("label", "AUROC"), (("nodule", "0.7"),))},
        drawings={"roc": Drawing(new_figure(2.0, 2.0), "ROC curves.")},
    )
    path = write_result_page(result, tmp_path, title="Probe of run")
    text = path.read_text()
    assert path.name == "report.html"
    for part in (
        "Probe of run",
        "selected on test",
        "SELECTED ON TEST",
        "test abcd (1,200)",
        "f00d",
        "Every figure.",
        "<td>0.7</td>",
        "ROC curves.",
        "&lt;paper&gt;",
        "9.9",
    ):
        assert part in text, part  # fmt: skip
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)


def test_what_a_long_caption_explains_stands_above_its_table(tmp_path):
    table = Table(("label", "AUROC"), (("nodule", "0.7"),))
    result = Result(
        "retrieve", {}, {}, "", (), {}, tables={"Recall at k. Ties count half. So it is.": table}
    )
    text = write_result_page(result, tmp_path, title="Bare").read_text()
    assert "<caption>Recall at k.</caption>" in text
    assert text.index("Ties count half. So it is.") < text.index("<caption>")


def test_a_result_without_pictures_has_no_empty_section(tmp_path):
    result = Result("segment evaluate", {}, {}, "", (), {})
    text = write_result_page(result, tmp_path, title="Bare").read_text()
    assert "Pictures" not in text
    assert "Where this comes from" in text
