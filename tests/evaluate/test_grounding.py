import json
import math

import numpy as np
import pytest

from simcrop.evaluate.dice_thresholds import chosen_on, chosen_on_others
from simcrop.evaluate.grounded_sentence import OWN, SWAPPED, GroundedSentence
from simcrop.evaluate.grounding import evaluate_grounding


def grounded(similarity, swapped, share, body=None, patient="p1", label="nodule"):
    n = len(share)
    is_body = np.ones(n, dtype=bool) if body is None else np.asarray(body)
    own, other, share = (np.asarray(a, dtype=float) for a in (similarity, swapped, share))
    far = np.where(share > 0, 0.0, 10.0)
    return GroundedSentence(
        "s1", patient, label, "A nodule is observed.", {OWN: own, SWAPPED: other}, share, is_body,
        distance_mm=far, depth_mm=np.arange(n, dtype=float),
    )  # fmt: skip


def test_perfect_map_hits_and_reversed_map_does_not():
    share = np.r_[0.0, 0.0, 0.3, 0.8, 0.0, 0.0]
    row = evaluate_grounding([grounded(share, -share, share)], top_k=2).mean
    own, swapped = row.maps[OWN], row.maps[SWAPPED]
    for figure in ("hit", "hit_at_k", "patch_auroc"):
        assert getattr(own, figure).value == 1
        assert getattr(swapped, figure).value == 0
    assert own.average_precision.value == 1
    assert (own.distance_mm.value, swapped.distance_mm.value) == (0, 10)
    assert (own.depth_error_mm.value, swapped.depth_error_mm.value) == (3, 0)
    assert row.chance.value == pytest.approx(2 / 6)
    assert row.hit_difference.value == 1
    assert row.differences[SWAPPED].distance_mm.value == -10


def test_random_maps_score_at_the_chance_level():
    rng = np.random.default_rng(0)
    body = rng.random(24) < 0.8
    share = np.where(rng.random(24) < 0.3, 0.5, 0)
    sentences = [
        grounded(rng.random(24), rng.random(24), share, body, patient=f"p{i}") for i in range(2000)
    ]
    mean = evaluate_grounding(sentences, top_k=4).mean
    expected = ((share > 0) & body).sum() / body.sum()
    assert mean.chance.value == pytest.approx(expected)
    assert mean.hit.low < expected < mean.hit.high
    assert mean.maps[OWN].hit_at_k.value == pytest.approx(expected, abs=0.02)
    assert mean.patch_auroc.value == pytest.approx(0.5, abs=0.02)
    assert mean.hit_difference.low < 0 < mean.hit_difference.high


def test_a_map_that_knows_only_the_position_gains_nothing_over_its_swap():
    prior = np.r_[np.zeros(10), 1.0, np.zeros(13)]
    sentences = [grounded(prior, prior, np.roll(prior, i % 2), patient=f"p{i}") for i in range(40)]
    mean = evaluate_grounding(sentences, top_k=1).mean
    assert mean.hit.value == 0.5
    assert (mean.hit_difference.value, mean.hit_difference.high) == (0, 0)


def test_mean_counts_every_label_once_and_masks_outside_the_body_are_counted_out():
    share, nothing = np.r_[0.0, 1.0, 0.0], np.zeros(3)
    sentences = [
        *(grounded(share, -share, share, patient=f"a{i}", label="nodule") for i in range(3)),
        grounded(-share, share, share, patient="b", label="effusion"),
        grounded(share, share, nothing, patient="c", label="effusion"),
        grounded(share, share, share, [True, False, True], patient="d", label="effusion"),
    ]
    result = evaluate_grounding(sentences, top_k=1)
    assert [(row.label, row.num_sentences) for row in result.rows] == [
        ("effusion", 1),
        ("nodule", 3),
    ]
    assert [row.hit.value for row in result.rows] == [0, 1]
    assert result.mean.hit.value == 0.5
    assert result.num_left_out == 2


def test_a_mask_over_the_whole_body_has_no_auroc_but_a_hit():
    row = evaluate_grounding([grounded([0.1, 0.2], [0.1, 0.2], [1, 1])], top_k=1).mean
    assert row.hit.value == row.chance.value == 1
    assert math.isnan(row.patch_auroc.value)


def test_the_threshold_of_dice_comes_from_validation_and_is_applied_per_finding():
    share = np.r_[1.0, 1.0, 0.0, 0.0]

    def made(high, low, label):
        return grounded([high, high, low, low], [0.0, 1, 2, 3], share, label=label)

    validation = [made(0.9, 0.5, "nodule"), made(0.4, 0.1, "effusion")]
    thresholds = chosen_on(validation)
    of_own = thresholds.of_fold[0][OWN]
    assert 0.5 < of_own["nodule"] <= 0.9
    assert 0.1 < of_own["effusion"] <= 0.4
    test = [made(0.9, 0.3, "nodule"), made(0.45, 0.3, "effusion"), made(0.95, 0.2, "new")]
    known = evaluate_grounding(test, top_k=1, thresholds=thresholds)
    values = {row.label: row.maps[OWN].dice.value for row in known.rows}
    assert values["nodule"] == 1
    assert values["effusion"] == pytest.approx(1 if of_own["effusion"] > 0.3 else 2 / 3)
    assert values["new"] > 0  # by the threshold of all findings together
    unknown = evaluate_grounding(test, top_k=1).mean.maps[OWN]
    assert math.isnan(unknown.dice.value)
    assert not chosen_on([grounded(share, share, 0 * share)]).any


def test_a_patients_own_masks_never_choose_its_threshold():
    share = np.r_[1.0, 1.0, 0.0, 0.0]

    def made(patient, high, low):
        maps = [high, high, low, low]
        return grounded(maps, [0.0, 1, 2, 3], share, patient=patient, label="nodule")

    sentences = [made(f"p{i:02}", 0.9, 0.5) for i in range(12)]
    before = chosen_on_others(sentences)
    odd = made("p03", 0.2, 0.1)
    after = chosen_on_others([odd if one.patient_id == "p03" else one for one in sentences])
    assert after.of(OWN, odd) == before.of(OWN, odd) > 0.5
    folds = [before.fold_of_patient[one.patient_id] for one in sentences]
    assert max(map(folds.count, folds)) == 3  # 12 patients in five folds
    dice = evaluate_grounding(sentences, top_k=1, thresholds=before).mean.maps[OWN].dice
    assert dice.value == 1


def test_a_single_patient_has_no_threshold_of_others():
    share = np.r_[1.0, 0.0]
    alone = [grounded(share, share, share, patient="a")] * 2
    assert not chosen_on_others(alone).any
    assert math.isnan(chosen_on_others(alone).of(OWN, alone[0]))
    assert not chosen_on_others([]).any


def test_grounding_refuses_an_empty_task_and_broken_maps():
    share = np.r_[0.0, 1.0]
    with pytest.raises(ValueError, match="none of 1 sentences has a mask on a body patch"):
        evaluate_grounding([grounded(share, share, 0 * share)], top_k=1)
    with pytest.raises(ValueError, match="not finite"):
        evaluate_grounding([grounded(share * np.nan, share, share)], top_k=1)


def test_grounding_result_is_valid_json():
    share = np.r_[0.0, 1.0, 1.0]
    result = evaluate_grounding([grounded(share, -share, share)], top_k=1)
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert json.loads(text)["labels"][0]["maps"][OWN]["hit"]["value"] == 1
    assert json.loads(text)["labels"][0]["own_minus"][SWAPPED]["hit"]["value"] == 1
