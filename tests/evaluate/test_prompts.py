"""The packaged prompts cover all labels; a user's file is read, or refused by name."""

import pytest

from simcrop.data.label_names import CT_RATE
from simcrop.errors import ConfigError
from simcrop.evaluate.prompts import EXTENTS, PROMPTS, read_prompts


def test_every_label_of_ct_rate_has_prompts_for_and_against():
    assert tuple(PROMPTS) == CT_RATE
    for prompts in PROMPTS.values():
        assert min(len(prompts.positive), len(prompts.negative)) >= 3
        assert prompts.extent in EXTENTS
        for sentence in (*prompts.positive, *prompts.negative):
            assert sentence[0].isupper()
            assert sentence.endswith(".")
    sentences = [s for p in PROMPTS.values() for s in (*p.positive, *p.negative)]
    assert len(set(sentences)) == len(sentences)
    assert "Pleural effusion is observed." in PROMPTS["Pleural effusion"].positive
    assert "No pleural effusion is seen." in PROMPTS["Pleural effusion"].negative


def test_a_file_of_ones_own_is_read_in_its_order(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("Cyst:\n  positive: [A cyst.]\n  negative: ['No cyst.', No cysts.]\nMass:\n"
                    "  {positive: [A mass.], negative: [No mass.], extent: focal}\n")  # fmt: skip
    prompts = read_prompts(path)
    assert list(prompts) == ["Cyst", "Mass"]
    assert prompts["Cyst"].negative == ("No cyst.", "No cysts.")
    assert (prompts["Cyst"].extent, prompts["Mass"].extent) == ("", "focal")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "holds NoneType"),
        ("- Cyst", "holds list"),
        ("Cyst: {positive: [A cyst.]}", "'Cyst' has ['positive']"),
        ("Cyst: {positive: [A cyst.], negative: [No cyst.], weight: 2}", "weight"),
        ("Cyst: {positive: [A cyst.], negative: []}", "'Cyst', negative: []"),
        ("Cyst: {positive: A cyst., negative: [No cyst.]}", "positive: 'A cyst.'"),
        ("Cyst: {positive: [A cyst.], negative: [No]}", "negative: [False]"),
        ("Cyst: {positive: [A cyst.], negative: ['...']}", "['...']"),
        ("Cyst: {positive: [A cyst., A cyst.], negative: [No cyst.]}", "a sentence twice"),
        ("Cyst: {positive: [A cyst.], negative: [A cyst.]}", "both states and denies"),
        ("Cyst: {positive: [A cyst.], negative: [No cyst.], extent: big}", "extent: 'big'"),
        ("Cyst: &a {positive: [A.], negative: [B.]}\nCyst: *a", "'Cyst' stands there twice"),
        ("Cyst: [", "cannot be read"),
    ],
)
def test_a_wrong_file_is_refused_by_what_is_wrong(tmp_path, text, found):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        read_prompts(path)
    assert found in str(error.value)
    assert str(path) in str(error.value)
    assert "expected" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        read_prompts(tmp_path / "none.yaml")
