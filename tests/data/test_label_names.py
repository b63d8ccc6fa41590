import pandas as pd

from simcrop.data.label_names import (
    BTCV,
    CT_RATE,
    LUNA16_SEGMENTATION,
    RAD_CHEST_CT,
    RAD_CHEST_CT_FROM_CT_RATE,
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
