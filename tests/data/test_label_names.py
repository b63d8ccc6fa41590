import pandas as pd

from simcrop.data.label_names import (
    BTCV,
    CC_CCII,
    CT_RATE,
    LUNA16,
    LUNA16_SEGMENTATION,
    RAD_CHEST_CT,
    RAD_CHEST_CT_FROM_CT_RATE,
    shared_labels,
)


def test_every_set_has_its_number_of_distinct_names():
    for names, number in ((CT_RATE, 18), (RAD_CHEST_CT, 16), (LUNA16_SEGMENTATION, 4), (BTCV, 14)):
        assert len(names) == len(set(names)) == number


def test_rad_chest_ct_is_ct_rate_without_mosaic_and_with_merged_calcifications():
    assert set(RAD_CHEST_CT_FROM_CT_RATE) == set(RAD_CHEST_CT)
    used = [name for names in RAD_CHEST_CT_FROM_CT_RATE.values() for name in names]
    assert len(used) == len(set(used))
    assert set(CT_RATE) - set(used) == {"Mosaic attenuation pattern"}
    assert set(used) <= set(CT_RATE)


def test_names_are_those_of_the_published_reports(shared_data):
    table = pd.read_csv(shared_data / "ct_reports" / "reports.csv", nrows=1)
    assert tuple(table.columns[2:]) == CT_RATE


def test_ct_rate_and_rad_chest_ct_share_sixteen_labels_by_name_in_both_directions():
    forth = shared_labels(CT_RATE, RAD_CHEST_CT)
    assert [label.name for label in forth] == [*RAD_CHEST_CT]
    merged = next(label for label in forth if label.name == "Calcification")
    assert merged.of_first == ("Arterial wall calcification", "Coronary artery wall calcification")
    assert merged.of_second == ("Calcification",)
    back = {label.name: label for label in shared_labels(RAD_CHEST_CT, CT_RATE)}
    assert set(back) == set(RAD_CHEST_CT)
    assert back["Calcification"].of_second == merged.of_first
    assert all(label.of_first == (name,) for name, label in back.items())


def test_sets_share_what_both_name_and_nothing_else():
    assert [label.name for label in shared_labels(CT_RATE, LUNA16)] == ["Lung nodule"]
    assert shared_labels(CC_CCII, CT_RATE) == ()
    half = [name for name in CT_RATE if not name.startswith("Coronary")]
    assert "Calcification" not in {label.name for label in shared_labels(half, RAD_CHEST_CT)}
