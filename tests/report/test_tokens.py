from simcrop.report.sections import make_report
from simcrop.report.tokens import tokenize_findings, tokenize_report


def test_first_use(tokenizer):
    report = make_report("Trachea is open. No nodule of 3.5 mm is seen.", "Normal chest.")
    (window,), sentences = tokenize_findings(report, tokenizer)
    assert sentences == ["Trachea is open.", "No nodule of 3.5 mm is seen."]
    assert set(window.sentence_of_word) == {0, 1, 2}
    assert len(tokenize_report(report, tokenizer)) > len(window.ids)
