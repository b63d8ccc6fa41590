"""Labels over the CT, and boxes of Dice: what is drawn, and what is left out."""

import numpy as np
import pytest

from simcrop.evaluate.segmentation_figures import dice_boxes, labels_figure, window_for
from simcrop.evaluate.slices import LUNG_WINDOW, SOFT_TISSUE_WINDOW

NAMES = ("background", "left lung", "liver")
AFFINE = np.diag([2.0, 2.0, 3.0, 1.0])


def scan() -> tuple[np.ndarray, np.ndarray]:
    hu = np.full((20, 18, 16), 40, dtype=np.int16)
    classes = np.zeros(hu.shape, dtype=np.uint8)
    classes[3:9, 4:10, 5:12] = 1
    hu[classes == 1] = -800
    return hu, classes


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_only_classes_that_are_there_are_in_the_key():
    hu, classes = scan()
    figure = labels_figure(hu, AFFINE, classes, NAMES, "P1", window=LUNG_WINDOW)
    assert legend(figure) == ["left lung"]
    assert [axes.get_title().split(",")[0] for axes in figure.axes] == [
        "axial",
        "coronal",
        "sagittal",
    ]


def test_the_reference_is_outlined_where_it_lies():
    hu, classes = scan()
    reference = np.zeros_like(classes)
    reference[3:9, 4:10, 5:12] = 2
    figure = labels_figure(
        hu, AFFINE, classes, NAMES, "P1", window=LUNG_WINDOW, reference=reference
    )
    assert legend(figure) == ["left lung", "liver", "reference (outline)"]
    axial = figure.axes[0]
    points = np.concatenate([line for one in axial.collections for line in one.get_segments()])
    width, height = np.ptp(points, axis=0)
    assert (width, height) == (6, 6)


@pytest.mark.parametrize("has_reference", [False, True])
def test_empty_labels_are_drawn_as_the_ct_alone(has_reference):
    hu, classes = scan()
    nothing = np.zeros_like(classes)
    reference = classes if has_reference else None
    figure = labels_figure(
        hu, AFFINE, nothing, NAMES, "P1", window=SOFT_TISSUE_WINDOW, reference=reference
    )
    overlay = figure.axes[0].images[1].get_array()
    assert np.ma.count(overlay) == 0
    figure.canvas.draw()


def test_the_window_is_that_of_what_is_labelled():
    hu, classes = scan()
    assert window_for(hu, classes) == LUNG_WINDOW
    assert window_for(hu, np.where(classes == 0, 2, 0)) == SOFT_TISSUE_WINDOW
    assert window_for(hu, np.zeros_like(classes)) == SOFT_TISSUE_WINDOW


def test_boxes_leave_cases_without_the_class_out():
    dice = np.array([[0.9, np.nan], [0.8, 0.4], [0.7, np.nan]])
    axes = dice_boxes(dice, NAMES[1:]).axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["left lung (3)", "liver (1)"]
    dots = [line.get_xdata().tolist() for line in axes.lines if line.get_marker() == "o"]
    assert dots == [[0.9, 0.8, 0.7], [0.4]]


def test_boxes_of_a_class_that_no_case_has_are_empty():
    axes = dice_boxes(np.full((2, 1), np.nan), ("gallbladder",)).axes[0]
    assert axes.get_yticklabels()[0].get_text() == "gallbladder (0)"
