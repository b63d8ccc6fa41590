import json

import pytest

from simcrop.data.contract import Contract
from simcrop.errors import ConfigError


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
    ]
    assert len({contract.hash for contract in [Contract(), *changed]}) == 6
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
