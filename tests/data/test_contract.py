import json

import pytest

from simcrop.data.contract import IMAGE, STORED, Contract, meet
from simcrop.errors import ConfigError, DataError


def test_the_default_is_the_papers():
    contract = Contract()
    assert contract.patch_grid.shape == (14, 14, 14)
    assert contract.patch_grid.num_patches == 2744


def test_the_hash_is_stable_and_depends_on_every_field():
    assert Contract().hash == "902a8e3787da8802"  # in stores and checkpoints: never change it
    changed = [
        Contract(spacing_mm=(1.5, 1.5, 3.5)),
        Contract(window_hu=(-1000.0, 900.0)),
        Contract(crop_shape=(224, 224, 96)),
        Contract(patch_shape=(16, 16, 16)),
        Contract(padding="air"),
        Contract(rescale="spread_8bit"),
        Contract(text_encoder="packaged"),
        Contract(tokenizer="of packaged"),
        Contract(sentence_rule="simcrop 1"),
    ]
    assert len({contract.hash for contract in [Contract(), *changed]}) == 10
    whole = Contract.from_dict({"spacing_mm": [1, 1, 3]})
    assert whole.hash == Contract(spacing_mm=(1.0, 1.0, 3.0)).hash


def test_json_and_back_is_the_same_contract():
    contract = Contract(spacing_mm=(2.0, 2.0, 4.0), padding="air")
    again = Contract.from_dict(json.loads(json.dumps(contract.to_dict())))
    assert again == contract
    assert again.hash == contract.hash


def test_differences_are_named_one_per_line():
    assert Contract().differences(Contract()) == []
    other = Contract(spacing_mm=(2.0, 2.0, 4.0), padding="air")
    assert Contract().differences(other) == [
        "spacing_mm: [1.5, 1.5, 3.0] here, [2.0, 2.0, 4.0] there",
        "padding: reflect here, air there",
    ]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"orientation": "LPS"}, "contract.orientation"),
        ({"interpolation": "cubic"}, "contract.interpolation"),
        ({"padding": "zeros"}, "contract.padding"),
        ({"rescale": "twice"}, "contract.rescale"),
        ({"spacing_mm": (1.5, 0.0, 3.0)}, "contract.spacing_mm"),
        ({"spacing_mm": (1.5, float("nan"), 3.0)}, "contract.spacing_mm"),
        ({"window_hu": (100.0, -100.0)}, "contract.window_hu"),
        ({"crop_shape": (225, 224, 112)}, "contract.crop_shape"),
        ({"shape": (1, 2, 3)}, "unknown contract fields shape"),
    ],
)
def test_impossible_values_are_refused_by_the_name_of_the_field(values, field):
    with pytest.raises(ConfigError, match=field):
        Contract.from_dict(values)


def test_the_hash_of_what_is_stored_ignores_what_happens_when_it_is_read():
    later = Contract(window_hu=(-1000.0, 300.0), padding="air", text_encoder="packaged")
    assert later.stored_hash == Contract().stored_hash
    assert Contract(spacing_mm=(2.0, 2.0, 4.0)).stored_hash != Contract().stored_hash


def test_equal_contracts_meet_without_a_word(caplog):
    assert meet(Contract(), Contract(), "STORE", STORED, "Prepare again.") == []
    assert not caplog.records


def test_what_is_applied_when_reading_is_converted_and_said(caplog):
    wanted = Contract(window_hu=(-1000.0, 300.0), sentence_rule="simcrop 2")
    found = Contract(rescale="spread_8bit", sentence_rule="simcrop 1")
    lines = meet(wanted, found, "STORE", STORED, "Prepare again.")
    assert [line.split(":")[0] for line in lines] == ["window_hu", "rescale", "sentence_rule"]
    assert all(line in caplog.text for line in ["STORE", *lines])


def test_what_shaped_the_bytes_is_refused_with_a_line_for_each_difference():
    found = Contract(spacing_mm=(2.0, 2.0, 4.0), window_hu=(-1000.0, 300.0), padding="air")
    with pytest.raises(DataError) as refusal:
        meet(Contract(), found, "FEATURES", IMAGE, "Embed again.")
    assert refusal.value.kind == "contract"
    name, *lines, remedy = str(refusal.value).splitlines()
    assert name == "FEATURES was made differently:"
    assert [line.strip().split(":")[0] for line in lines] == ["spacing_mm", "window_hu", "padding"]
    assert remedy == "Embed again."


def test_text_that_one_side_does_not_state_is_no_difference():
    assert Contract(text_encoder="packaged").differences(Contract()) == []
