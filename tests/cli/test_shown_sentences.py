import json

REPORT = """FINDINGS: Lungs are clear.No effusion. 3.5 mm nodule.
IMPRESSION:
1. Nodule.
2. No effusion.
"""


def test_a_text_is_shown_by_section_with_numbers(simcrop, tmp_path):
    (tmp_path / "report.txt").write_text(REPORT)
    result = simcrop("sentences", tmp_path / "report.txt")
    assert result.code == 0
    assert result.stdout.splitlines() == [
        "# report.txt",
        "findings:",
        "   1  Lungs are clear.",
        "   2  No effusion.",
        "   3  3.5 mm nodule.",
        "impression:",
        "   1  Nodule.",
        "   2  No effusion.",
    ]
    assert result.stderr.strip() == "5 sentences in 1 reports"


def test_a_table_is_read_by_section_or_by_a_column_of_whole_reports(simcrop, tmp_path):
    (tmp_path / "reports.csv").write_text(
        'study_id,patient_id,findings,impression\ns1,p,"A. B is seen.",nan\ns2,p,C is seen.,D.\n'
    )
    shown = simcrop("sentences", tmp_path / "reports.csv", "--json").stdout.splitlines()
    assert json.loads(shown[1]) == {
        "report": "s2",
        "findings": ["C is seen."],
        "impression": ["D."],
    }
    assert json.loads(shown[0])["impression"] == []
    (tmp_path / "whole.csv").write_text("id,text\n7,Impression: Clear. No nodule.\n")
    shown = simcrop("sentences", tmp_path / "whole.csv", "--column", "text", "--json").stdout
    assert json.loads(shown) == {
        "report": "7",
        "findings": [],
        "impression": ["Clear.", "No nodule."],
    }


def test_another_encoding_or_column_is_one_error(simcrop, tmp_path):
    (tmp_path / "report.txt").write_bytes("Röntgen".encode("latin-1"))
    assert "not UTF-8" in simcrop("sentences", tmp_path / "report.txt").stderr
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    result = simcrop("sentences", tmp_path / "t.csv", "--column", "c")
    assert result.code == 1
    assert "no column c among a, b" in result.stderr
