import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcrop.report.sections import Report
from simcrop.report.sides import mirrored, swap_sides


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Nodule in the left upper lobe.", "Nodule in the right upper lobe."),
        ("Right-sided effusion, LEFT lung clear.", "Left-sided effusion, RIGHT lung clear."),
        ("LUL and RLL opacities", "RUL and LLL opacities"),
        ("The trachea is shifted leftwards.", "The trachea is shifted rightwards."),
        (
            "Bilateral, upright, bright, cleft, leftover",
            "Bilateral, upright, bright, cleft, leftover",
        ),
        ("", ""),
    ],
)
def test_sides_change_places_in_the_case_of_each_word(text, expected):
    assert swap_sides(text) == expected
    assert swap_sides(expected) == text


@given(st.lists(st.sampled_from(["left", "Right", "LUL", "lobe", "right-sided", ".", "-"])))
def test_swapping_twice_changes_nothing(words):
    text = " ".join(words)
    assert swap_sides(swap_sides(text)) == text


def test_a_report_is_mirrored_in_all_its_parts():
    report = Report("Left effusion.", "Effusion on the left.", ("Left effusion.",))
    assert mirrored(report) == Report(
        "Right effusion.", "Effusion on the right.", ("Right effusion.",)
    )
