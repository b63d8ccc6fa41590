"""Which sentences say that there is nothing, on the phantoms' wording and on reports' habits."""

import pytest

from simcrop.data.phantom.wording import PHRASES
from simcrop.report.negation import is_normal_statement


@pytest.mark.parametrize("finding", PHRASES)
def test_the_phantoms_sentences_are_told_apart(finding):
    phrases = PHRASES[finding]
    assert all(is_normal_statement(sentence) for sentence in phrases.absent)
    assert not any(is_normal_statement(s) for s in (*phrases.present, *phrases.unplaced))


@pytest.mark.parametrize(
    ("sentence", "is_normal"),
    [
        ("Pericardial effusion-thickening was not observed.", True),
        ("Trachea and both main bronchi are open.", True),
        ("Heart size is within NORMAL limits.", True),
        ("Nodules in both lungs, the largest 6 mm.", False),
        ("Notable thickening of the pleura.", False),
        ("Clearly visible consolidation.", False),
    ],
)
def test_habits_of_reports(sentence, is_normal):
    assert is_normal_statement(sentence) == is_normal
