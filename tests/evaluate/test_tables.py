import math

import pytest

from simcrop.evaluate.intervals import Interval, LabelIntervals
from simcrop.evaluate.tables import Table, auroc_table, format_interval

TABLE = Table(("label", "AUROC"), (("nodule", "0.7"), ("a|b", "0.85")))


def test_markdown_escapes_bars_and_aligns_figures_right():
    assert TABLE.markdown() == (
        "| label | AUROC |\n| :-- | --: |\n| nodule | 0.7 |\n| a\\|b | 0.85 |\n"
    )


def test_plain_text_stands_in_columns():
    assert TABLE.plain() == "label   AUROC\n------  -----\nnodule    0.7\na|b      0.85\n"


def test_rows_must_match_the_header():
    with pytest.raises(ValueError, match="has 1 cells, expected 2"):
        Table(("a", "b"), (("c",),))


def test_intervals_show_what_is_defined():
    assert format_interval(Interval(0.8121, 0.7, 0.9, 10)) == "0.812 [0.700, 0.900]"
    assert format_interval(Interval(0.8121, math.nan, math.nan, 0), digits=2) == "0.81"
    assert format_interval(Interval(math.nan, math.nan, math.nan, 0)) == "-"


def test_auroc_table_ends_with_the_mean():
    interval = Interval(0.5, 0.4, 0.6, 10)
    result = LabelIntervals((interval,), interval)
    table = auroc_table(["nodule"], {"pre-trained": result, "untrained": result})
    assert table.header == ("AUROC", "pre-trained", "untrained")
    assert [row[0] for row in table.rows] == ["nodule", "mean"]
