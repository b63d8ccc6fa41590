import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib._pylab_helpers import Gcf

from simcrop.evaluate.figures import auroc_dots, grounding_figure, loss_curves
from simcrop.evaluate.intervals import auroc_intervals

AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)


def panel(figure, index):
    """Return the pixels of one panel, rows from the top."""
    image = pixels(figure)
    box = figure.axes[index].get_window_extent()
    height = image.shape[0]
    rows = slice(height - int(box.y1) + 1, height - int(box.y0) - 1)
    return image[rows, int(box.x0) + 1 : int(box.x1) - 1]


def grounded(sentence="A nodule is observed.", **settings):
    """Draw a map that peaks at the patient's left, in front, at the head."""
    shape = (20, 24, 16)
    similarity = np.zeros(shape)
    similarity[2:6, 16:20, 11:14] = 1.0
    hu = np.full(shape, -2000, dtype=np.int16)
    return grounding_figure(hu, AFFINE, similarity, sentence, **settings)


def center_of_color(image):
    """Return (column, row) of the coloured pixels as shares of the panel, without the letters."""
    inner = image[20:-20, 20:-20]
    is_colored = np.ptp(inner, axis=2) > 60
    row, column = np.nonzero(is_colored)
    return column.mean() / inner.shape[1], row.mean() / inner.shape[0]


def test_overlay_is_in_radiological_order_in_all_three_panels():
    figure = grounded()
    axial, coronal, sagittal = (center_of_color(panel(figure, i)) for i in range(3))
    assert axial[0] > 0.7  # the patient's left is on the right
    assert axial[1] < 0.4  # the front is up
    assert coronal[0] > 0.7
    assert coronal[1] < 0.4  # the head is up
    assert sagittal[0] < 0.4  # the front is on the left
    assert sagittal[1] < 0.4


def test_panels_have_the_patients_proportions():
    figure = grounded()
    for index, (width_mm, height_mm) in enumerate([(40, 48), (40, 64), (48, 64)]):
        figure.canvas.draw()
        box = figure.axes[index].get_window_extent()
        assert box.width / box.height == pytest.approx(width_mm / height_mm, rel=0.02)


def test_titles_name_the_slice_in_mm_and_the_sentence_is_drawn_as_it_is():
    figure = grounded("Costs $5 or $6 <b>" + " and more" * 30)
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["axial, z = 48 mm", "coronal, y = 34 mm", "sagittal, x = 6 mm"]
    assert "\n" in figure.get_suptitle()
    assert "$5 or $6 <b>" in figure.get_suptitle()
    pixels(figure)


def test_slices_can_be_cut_elsewhere_and_marks_are_explained():
    shape = (20, 24, 16)
    mask = np.zeros(shape, dtype=bool)
    mask[10:14, 4:8, 3:5] = True
    figure = grounded(mask=mask, is_selected=~mask, at=(11, 5, 3))
    assert figure.axes[0].get_title() == "axial, z = 12 mm"
    key = [text.get_text() for text in figure.legends[0].get_texts()]
    assert key == ["where the slices cut", "true mask", "selected patches"]


def test_outline_follows_the_mask():
    mask = np.zeros((20, 24, 16), dtype=bool)
    mask[2:6, 16:20, 11:14] = True
    figure = grounded(mask=mask)
    segments = np.concatenate(figure.axes[0].collections[0].get_segments())
    assert len(segments) == 2 * 16  # the edges of 4 x 4 pixels
    assert segments.min(axis=0).tolist() == [13.5, 3.5]
    assert segments.max(axis=0).tolist() == [17.5, 7.5]


def test_maps_with_nan_or_one_value_and_empty_masks_are_drawn():
    shape = (8, 8, 8)
    hu, similarity = np.zeros(shape, dtype=np.int16), np.full(shape, np.nan)
    similarity[2:4] = 0.3
    nothing = np.zeros(shape, dtype=bool)
    pixels(grounding_figure(hu, AFFINE, similarity, "", mask=nothing, is_selected=nothing))


def test_loss_curves_have_a_panel_per_term_and_logarithms_where_useful():
    steps = np.arange(100)
    falling = 10 * np.exp(-steps / 10) + 0.01
    metrics = {
        "train/patch_loss": falling,
        "val/patch_loss": np.where(steps % 10 == 0, falling, np.nan),
        "train/report_loss": 3 - steps / 100,
        "train/alignment_loss": np.full(100, np.nan),
        "val/alignment_loss": np.full(100, np.nan),
    }
    figure = loss_curves(steps, metrics)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["patch loss", "report loss", "alignment loss"]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear", "linear"]
    pixels(figure)
    assert len(loss_curves(steps, {f"train/{i}": falling for i in range(4)}).axes) == 4


def test_dots_take_labels_without_a_value():
    rng = np.random.default_rng(0)
    scores, labels = rng.random((40, 9)), rng.integers(2, size=(40, 9))
    labels[:, 2] = 0
    names = [f"label {i}" for i in range(9)]
    result = auroc_intervals(scores, labels, [str(i) for i in range(40)], num_resamples=50)
    dots = auroc_dots(names, {"pre-trained": result, "untrained": result})
    pixels(dots)
    assert [text.get_text() for text in dots.axes[0].get_yticklabels()] == [*names, "mean"]


def test_figures_leave_the_state_of_matplotlib_alone():
    settings = dict(rcParams)
    grounded()
    assert dict(rcParams) == settings
    assert not Gcf.get_all_fig_managers()
