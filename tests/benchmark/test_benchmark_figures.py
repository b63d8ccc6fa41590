"""The benchmark's pictures: every mark is explained, and no name covers another."""

from itertools import combinations

import pytest
from matplotlib.text import Annotation, Text

from simcrop.benchmark.figures import variant_dots
from simcrop.benchmark.label_figure import label_efficiency
from simcrop.benchmark.variants import VARIANTS
from simcrop.evaluate.intervals import Interval


def near(value: float) -> Interval:
    return Interval(value, value - 0.02, value + 0.02, 1000)


PROBES = ("probe_1", "probe_10", "probe_100", "probe_1 max", "probe_10 max", "probe_100 max")
FIGURES = {name: {measure: near(0.7) for measure in PROBES} for name in VARIANTS}
FIGURES["recommended"] |= {
    "zero_shot": near(0.8), "hit": near(0.7), "hit swapped": near(0.2),
    "hit position": near(0.5), "chance": near(0.05),
}  # fmt: skip
FIGURES |= {name: {"probe_100": near(value)} for name, value in (("cnn", 0.9), ("supervised", 0.7))}


def names_of(figure) -> list[Annotation]:
    figure.draw_without_rendering()
    return [one for axes in figure.axes for one in axes.texts if isinstance(one, Annotation)]


@pytest.mark.parametrize("draw", [variant_dots, label_efficiency])
def test_no_name_covers_another_or_leaves_the_picture(draw):
    figure = draw(FIGURES)
    boxes = [Text.get_window_extent(name) for name in names_of(figure)]
    assert len(boxes) >= 8
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in boxes)


def test_every_mark_and_line_of_reference_is_named():
    figure = variant_dots(FIGURES)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][2].startswith("same sentence")
    by_panel = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    ceilings = ["same network,\nall labels", "CNN,\nall labels"]
    assert by_panel == [["chance", *ceilings]] * 2 + [["chance", "position\nalone"]]
    assert all(axes.get_xlabel() for axes in figure.axes)


def test_what_is_missing_is_left_out():
    figure = label_efficiency({"untrained": FIGURES["untrained"]})
    assert names_of(figure) == []
    assert {text.get_text() for text in figure.axes[0].get_legend().get_texts()} == {
        "other variants",
        "chance",
    }
    figure = variant_dots({"untrained": FIGURES["untrained"]})
    assert [len(axes.texts) for axes in figure.axes] == [1, 1, 0]
