import pytest

from simcrop.report.places import Place, names_one_side, place_of


@pytest.mark.parametrize(
    ("sentence", "place"),
    [
        ("A nodule in the left upper lobe.", Place("left", "upper")),
        ("Consolidation in the lingula.", Place("left", "middle")),
        ("Ground glass in the right middle lobe.", Place("right", "middle")),
        ("Effusion on both sides.", Place("both", "")),
        ("Bilateral basal atelectasis.", Place("both", "lower")),
        ("Nodules in the left and the right lung.", Place("both", "")),
        ("Plaques in the aortic arch.", Place("", "arch")),
        ("The heart is enlarged.", Place("", "")),
        ("Bright leftover.", Place("", "")),
    ],
)
def test_the_side_and_level_of_a_sentence(sentence, place):
    assert place_of(sentence) == place


def test_only_a_sentence_with_one_side_is_contradicted_by_the_other():
    assert names_one_side("Effusion on the left, left lower lobe.")
    assert not names_one_side("Left and right lower lobe.")
    assert not names_one_side("Consolidation in the lingula.")
