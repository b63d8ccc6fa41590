"""The cards show what stands in the result, and a dash where nothing does."""

import math

from simcrop.evaluate.intervals import Interval, LabelIntervals
from simcrop.evaluate.results import Result
from simcrop.view.probe_cards import probe_cards


def encoder(value: float, **more) -> dict[str, object]:
    interval = Interval(value, value - 0.1, value + 0.1, 9)
    if math.isnan(value):
        interval = Interval(value, value, value, 0)
    figure = LabelIntervals((interval,), interval).to_dict(["nodule"])
    return {
        "auroc": figure,
        "average_precision": figure,
        "prevalence": {"nodule": 0.25},
        **more,
    }


def test_every_encoder_has_a_card_and_the_replay_is_set_apart():
    replay = {"inflation": {"value": 0.0125}, "f1": 0.3, "test_f1": 0.42}
    figures = {"encoders": {"a": encoder(0.7, replay=replay), "b": encoder(math.nan)}}
    cards = probe_cards(Result("probe", figures, {}, "", (0,), {}))
    assert [(card.name, card.value) for card in cards] == [
        ("a: mean AUROC", "0.700"),
        ("b: mean AUROC", "-"),
        ("mean average precision", "0.700"),
        ("choosing on test would add", "+0.013"),
    ]
    assert cards[0].note == "95 % interval 0.600 to 0.800, 1 labels"
    assert cards[1].note == "no interval"
    assert "0.25" in cards[2].note
    assert "+0.120" in cards[3].note


def test_a_test_set_without_both_classes_has_dashes():
    replay = {"inflation": {"value": None}, "f1": math.nan, "test_f1": math.nan}
    figures = {"encoders": {"a": encoder(math.nan, replay=replay)}}
    cards = probe_cards(Result("probe", figures, {}, "", (0,), {}))
    assert [card.value for card in cards] == ["-", "-", "-"]
    assert "and - of mean F1" in cards[-1].note
