import json
import math

import numpy as np

from simcrop.evaluate.faithfulness import Answers, preferred, summarise_answers


def test_a_preference_counts_ties_half():
    assert [preferred(d) for d in (0.3, 0.0, -2.0)] == [1, 0.5, 0]
    assert math.isnan(preferred(math.nan))


def test_answers_are_averaged_per_label_and_questions_that_do_not_arise_are_left_out():
    answers = [
        Answers(region_drop=0.4, control_drop=0.1, drop_difference=0.3, prefers_region=1.0),
        Answers(region_drop=0.2, control_drop=0.1, drop_difference=0.1, prefers_region=0.0),
        Answers(hit=1.0, mirrored_hit=1.0, stayed_hit=0.0),
        Answers(side_preferred=1.0, mirrored_side_preferred=0.0, side_answers=1.0),
    ]
    rows = summarise_answers(answers, ["a", "a", "b", "b"], ["p", "q", "r", "r"])
    by_label = {row.label: row for row in rows}
    assert list(by_label) == ["a", "b", "mean"]
    assert (by_label["a"].num_erased, by_label["a"].num_mirrored, by_label["a"].num_sided) == (
        2,
        0,
        0,
    )
    assert (by_label["b"].num_erased, by_label["b"].num_mirrored, by_label["b"].num_sided) == (
        0,
        1,
        1,
    )
    assert np.isclose(by_label["a"].answers["drop_difference"].value, 0.2)
    assert by_label["a"].answers["prefers_region"].value == 0.5
    assert math.isnan(by_label["a"].answers["mirrored_hit"].value)
    assert by_label["mean"].answers["mirrored_hit"].value == 1
    json.dumps([row.to_dict() for row in rows], allow_nan=False)
