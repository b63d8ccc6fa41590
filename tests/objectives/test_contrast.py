"""InfoNCE of sentences and regions: agreement with the reference, padding, averages."""

from dataclasses import replace

import pytest
import torch

from reference import contrast as reference
from reference.inputs import (
    PAPER,
    assert_same,
    cast,
    distinct_inputs,
    only,
    random_inputs,
    value_and_gradients,
)
from simcrop.objectives.contrast import NEGATIVES, AlignmentInput

ALL_NEGATIVES = sorted(NEGATIVES)
REDUCTIONS = ["report", "sentence"]


@pytest.mark.parametrize("positives", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ALL_NEGATIVES)
@pytest.mark.parametrize("seed", range(4))
def test_value_and_gradients_agree_with_the_reference(name, reduction, seed, positives):
    inputs = random_inputs(seed)
    options = {"top_k": 1 + seed, "temperature": 0.3, "reduction": reduction}
    options["duplicates_are_positives"] = positives
    found = value_and_gradients(NEGATIVES[name], inputs, **options)
    expected = value_and_gradients(reference.NEGATIVES[name], inputs, **options)
    assert expected[0] > 0
    assert found[0].dtype == torch.float64
    assert_same(found, expected, tolerance=1e-10)


@pytest.mark.parametrize("positives", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_a_share_of_the_whole_volume_agrees_with_the_reference(seed, positives):
    inputs = random_inputs(seed)
    options = PAPER | {"temperature": 0.3, "whole_share": 0.2 + 0.2 * seed}
    options["duplicates_are_positives"] = positives
    found = value_and_gradients(NEGATIVES["per_image"], inputs, **options)
    assert_same(found, value_and_gradients(reference.per_image, inputs, **options), 1e-10)
    without = value_and_gradients(NEGATIVES["per_image"], inputs, **options | {"whole_share": 0.0})
    assert found[0] != without[0]


@pytest.mark.parametrize("name", ALL_NEGATIVES)
def test_float32_agrees_with_the_reference(name):
    inputs = random_inputs()
    options = PAPER | {"temperature": 0.3}
    found = value_and_gradients(NEGATIVES[name], cast(inputs, torch.float32), **options)
    assert found[0].dtype == torch.float32
    assert_same(found, value_and_gradients(reference.NEGATIVES[name], inputs, **options), 1e-5)


@pytest.mark.parametrize("name", ALL_NEGATIVES)
def test_bfloat16_in_autocast_is_computed_in_float32(name):
    inputs = cast(distinct_inputs(), torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        loss = NEGATIVES[name](inputs, **PAPER)
    assert loss.dtype == torch.float32
    exact = reference.NEGATIVES[name](cast(inputs, torch.float64), **PAPER)
    torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ALL_NEGATIVES)
def test_what_stands_in_padded_places_changes_nothing(name, reduction):
    inputs, options = random_inputs(), PAPER | {"reduction": reduction}
    before = value_and_gradients(NEGATIVES[name], inputs, **options)
    padded = ~inputs.is_valid
    other = replace(
        inputs,
        sentences=inputs.sentences.masked_fill(padded[:, :, None], 1e4),
        keys=inputs.keys.masked_fill(padded, inputs.keys[0, 0]),
        weights=inputs.weights.masked_fill(padded, 50.0),
    )
    after = value_and_gradients(NEGATIVES[name], other, **options)
    assert_same(after, before)
    assert not after[2][padded].any()


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ALL_NEGATIVES)
def test_longer_padding_changes_nothing(name, reduction):
    inputs, options = random_inputs(), PAPER | {"reduction": reduction}
    before = value_and_gradients(NEGATIVES[name], inputs, **options)
    pad = torch.nn.functional.pad
    longer = replace(
        inputs,
        sentences=pad(inputs.sentences, (0, 0, 0, 3)),
        keys=pad(inputs.keys, (0, 3)),
        is_valid=pad(inputs.is_valid, (0, 3)),
        weights=pad(inputs.weights, (0, 3), value=1.0),
    )
    loss, of_patches, of_sentences = value_and_gradients(NEGATIVES[name], longer, **options)
    assert_same((loss, of_patches, of_sentences[:, :4]), before)
    assert not of_sentences[:, 4:].any()


def test_within_report_each_report_is_on_its_own():
    inputs = distinct_inputs()
    alone = [NEGATIVES["within_report"](only(inputs, b), **PAPER) for b in range(3)]
    together = NEGATIVES["within_report"](inputs, **PAPER)
    torch.testing.assert_close(together, torch.stack(alone).mean())


@pytest.mark.parametrize("name", ["batch", "per_image"])
def test_the_other_kinds_of_negatives_do_depend_on_the_batch(name):
    inputs = distinct_inputs()
    changed = inputs.sentences.clone()
    changed[2] = -changed[2]
    before = value_and_gradients(NEGATIVES[name], inputs, **PAPER)
    after = value_and_gradients(NEGATIVES[name], replace(inputs, sentences=changed), **PAPER)
    assert not torch.allclose(before[2][0], after[2][0])


@pytest.mark.parametrize("name", ALL_NEGATIVES)
def test_the_loss_ignores_the_order_of_reports_sentences_and_patches(name):
    inputs = random_inputs()
    orders = [torch.randperm(n, generator=torch.Generator().manual_seed(1)) for n in (4, 4, 7)]
    reports, sentences, patches = orders
    shuffled = AlignmentInput(
        patches=inputs.patches[reports][:, patches],
        is_candidate=inputs.is_candidate[reports][:, patches],
        **{
            key: getattr(inputs, key)[reports][:, sentences]
            for key in ("sentences", "keys", "is_valid", "weights")
        },
    )
    torch.testing.assert_close(NEGATIVES[name](shuffled, **PAPER), NEGATIVES[name](inputs, **PAPER))


@pytest.mark.parametrize("name", ALL_NEGATIVES)
def test_patches_that_are_no_candidates_change_nothing(name):
    inputs = replace(distinct_inputs(), is_candidate=torch.arange(6).expand(3, 6) < 4)
    fewer = replace(inputs, patches=inputs.patches[:, :4], is_candidate=inputs.is_candidate[:, :4])
    loss, of_patches, of_sentences = value_and_gradients(NEGATIVES[name], inputs, **PAPER)
    assert not of_patches[:, 4:].any()
    expected = value_and_gradients(NEGATIVES[name], fewer, **PAPER)
    assert_same((loss, of_patches[:, :4], of_sentences), expected)


@pytest.mark.parametrize("name", ALL_NEGATIVES)
def test_a_batch_that_says_one_thing_only_has_no_loss(name):
    inputs = distinct_inputs()
    same = replace(inputs, keys=torch.zeros_like(inputs.keys))
    loss, *gradients = value_and_gradients(NEGATIVES[name], same, **PAPER)
    assert loss == 0
    assert not any(g.any() for g in gradients)


def test_exact_duplicates_in_a_report_are_no_negatives_of_each_other():
    """A sentence said twice costs what it costs once: its twin is no negative, the third is."""
    inputs = distinct_inputs(batch=1, sentences=3)
    sentences = inputs.sentences[:, [0, 0, 2]]
    weights = torch.tensor([[1.0, 1.0, 0.0]], dtype=torch.float64)
    twice = replace(inputs, sentences=sentences, keys=torch.tensor([[7, 7, 9]]), weights=weights)
    once = replace(twice, is_valid=torch.tensor([[True, False, True]]))
    losses = [NEGATIVES["within_report"](x, **PAPER) for x in (twice, once)]
    assert losses[0] > 0
    torch.testing.assert_close(*losses)


def zero_without_a_pair(name, inputs):
    for reduction in REDUCTIONS:
        options = PAPER | {"reduction": reduction}
        loss, *gradients = value_and_gradients(NEGATIVES[name], inputs, **options)
        if loss != 0 or any(g.any() or g.isnan().any() for g in gradients):
            return False
    return True


@pytest.mark.parametrize("name", ALL_NEGATIVES)
def test_a_batch_of_empty_reports_has_no_loss(name):
    inputs = distinct_inputs()
    inputs = replace(inputs, is_valid=torch.zeros_like(inputs.is_valid))
    assert zero_without_a_pair(name, inputs)


@pytest.mark.parametrize("name", ALL_NEGATIVES)
def test_a_batch_with_one_sentence_in_one_volume_has_no_loss(name):
    inputs = distinct_inputs(batch=1)
    inputs = replace(inputs, is_valid=torch.tensor([[True, False, False, False]]))
    assert zero_without_a_pair(name, inputs)


def test_reports_of_one_sentence_have_no_loss_within_the_report():
    inputs = distinct_inputs()
    inputs = replace(inputs, is_valid=(torch.arange(4) < 1).expand(3, 4))
    assert zero_without_a_pair("within_report", inputs)
    assert not zero_without_a_pair("batch", inputs)


def test_a_single_volume_has_no_loss_per_image():
    inputs = distinct_inputs(batch=1)
    assert zero_without_a_pair("per_image", inputs)
    assert not zero_without_a_pair("within_report", inputs)


def test_reports_with_one_sentence_are_left_out_of_the_mean():
    inputs = distinct_inputs(batch=2, sentences=3)
    alone = NEGATIVES["within_report"](only(inputs, 0), **PAPER)
    is_valid = torch.tensor([[True, True, True], [True, False, False]])
    together = NEGATIVES["within_report"](replace(inputs, is_valid=is_valid), **PAPER)
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize("name", ALL_NEGATIVES)
def test_without_any_candidate_nothing_is_infinite(name):
    inputs = distinct_inputs()
    inputs = replace(inputs, is_candidate=torch.zeros_like(inputs.is_candidate))
    loss, *gradients = value_and_gradients(NEGATIVES[name], inputs, **PAPER)
    assert loss.isfinite()
    assert not any(g.any() for g in gradients)


@pytest.mark.parametrize("name", ALL_NEGATIVES)
def test_equal_weights_are_the_plain_mean_and_scale_does_not_matter(name):
    inputs = replace(random_inputs(), weights=torch.ones(4, 4, dtype=torch.float64))
    scaled = replace(inputs, weights=inputs.weights * 17)
    plain = NEGATIVES[name](inputs, **PAPER | {"reduction": "sentence"})
    same = NEGATIVES[name](scaled, **PAPER | {"reduction": "sentence"})
    torch.testing.assert_close(plain, same)


@pytest.mark.parametrize("name", ALL_NEGATIVES)
def test_sentences_and_reports_of_weight_zero_leave_the_average(name):
    inputs = random_inputs()
    weights = inputs.weights.clone()
    weights[0, 1:] = 0
    weights[1] = 0
    inputs = replace(inputs, weights=weights)
    found = value_and_gradients(NEGATIVES[name], inputs, **PAPER)
    assert_same(found, value_and_gradients(reference.NEGATIVES[name], inputs, **PAPER), 1e-10)


def test_the_two_reductions_weigh_long_reports_differently():
    inputs = distinct_inputs(batch=2, sentences=4)
    is_valid = torch.tensor([[True, True, True, True], [True, True, False, False]])
    inputs = replace(inputs, is_valid=is_valid)
    alone = [NEGATIVES["within_report"](only(inputs, b), **PAPER) for b in range(2)]
    by_report = NEGATIVES["within_report"](inputs, **PAPER)
    by_sentence = NEGATIVES["within_report"](inputs, **PAPER | {"reduction": "sentence"})
    torch.testing.assert_close(by_report, (alone[0] + alone[1]) / 2)
    torch.testing.assert_close(by_sentence, (4 * alone[0] + 2 * alone[1]) / 6)
