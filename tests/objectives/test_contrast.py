"""InfoNCE of sentences and regions, for each of the three kinds of negatives."""

import math
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference import contrast as reference
from simcrop.objectives.contrast import NEGATIVES, AlignmentInput, info_nce

ALL_NEGATIVES = sorted(NEGATIVES)
REDUCTIONS = ["report", "sentence"]
PAPER = {"top_k": 3, "temperature": 0.07, "reduction": "report"}


def random_inputs(seed=0, lengths=(4, 2, 3, 1), patches=7, shared=5, vocabulary=8):
    """Return a batch with padding, duplicates within and between reports, and few candidates."""
    draw = torch.Generator().manual_seed(seed)
    B, S = len(lengths), max(lengths)
    return AlignmentInput(
        patches=torch.randn(B, patches, shared, generator=draw, dtype=torch.float64),
        sentences=torch.randn(B, S, shared, generator=draw, dtype=torch.float64),
        is_candidate=torch.rand(B, patches, generator=draw) < 0.8,
        keys=torch.randint(vocabulary, (B, S), generator=draw),
        is_valid=torch.arange(S) < torch.tensor(lengths)[:, None],
        weights=torch.rand(B, S, generator=draw, dtype=torch.float64) + 0.1,
    )


def distinct_inputs(batch=3, sentences=4, patches=6, shared=5, seed=0):
    """Return a batch without padding in which no two sentences say the same."""
    inputs = random_inputs(seed, (sentences,) * batch, patches, shared)
    return replace(
        inputs,
        keys=torch.arange(batch * sentences).reshape(batch, sentences),
        is_candidate=torch.ones_like(inputs.is_candidate),
        weights=torch.ones_like(inputs.weights),
    )


def cast(inputs, dtype):
    names = ("patches", "sentences", "weights")
    return replace(inputs, **{name: getattr(inputs, name).to(dtype) for name in names})


def only(inputs, report):
    """Return the batch that holds one of the reports alone."""
    kept = {f.name: getattr(inputs, f.name)[report : report + 1] for f in fields(inputs)}
    return AlignmentInput(**kept)


def value_and_gradients(negatives, inputs, **settings):
    """Return the loss and its gradients with respect to patches and sentences."""
    patches = inputs.patches.clone().requires_grad_()
    sentences = inputs.sentences.clone().requires_grad_()
    loss = negatives(replace(inputs, patches=patches, sentences=sentences), **settings)
    if not loss.requires_grad:
        return loss, torch.zeros_like(patches), torch.zeros_like(sentences)
    gradients = torch.autograd.grad(loss, (patches, sentences), allow_unused=True)
    zeros = torch.zeros_like(patches), torch.zeros_like(sentences)
    return loss, *(z if g is None else g for g, z in zip(gradients, zeros, strict=True))


def assert_same(found, expected, tolerance=1e-12):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=tolerance, check_dtype=False)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name", ALL_NEGATIVES)
@pytest.mark.parametrize("seed", range(4))
def test_value_and_gradients_agree_with_the_reference(name, reduction, seed):
    inputs = random_inputs(seed)
    options = {"top_k": 1 + seed, "temperature": 0.3, "reduction": reduction}
    found = value_and_gradients(NEGATIVES[name], inputs, **options)
    expected = value_and_gradients(reference.NEGATIVES[name], inputs, **options)
    assert expected[0] > 0
    assert found[0].dtype == torch.float64
    assert_same(found, expected, tolerance=1e-10)


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


@pytest.mark.parametrize(("name", "chance"), [("within_report", 4), ("batch", 12)])
def test_when_all_pairs_coincide_the_loss_is_the_logarithm_of_their_number(name, chance):
    """Both directions are summed, so the logarithm counts twice."""
    inputs = distinct_inputs(batch=3, sentences=4)
    same = replace(
        inputs,
        patches=torch.ones_like(inputs.patches),
        sentences=torch.ones_like(inputs.sentences),
    )
    loss = NEGATIVES[name](same, **PAPER)
    assert loss.item() == pytest.approx(2 * math.log(chance))


def test_when_all_pairs_coincide_per_image_is_at_its_chance_level():
    """A sentence has 3 volumes to choose from; a volume its own and 2 x 4 other sentences."""
    inputs = distinct_inputs(batch=3, sentences=4)
    same = replace(
        inputs,
        patches=torch.ones_like(inputs.patches),
        sentences=torch.ones_like(inputs.sentences),
    )
    loss = NEGATIVES["per_image"](same, **PAPER)
    assert loss.item() == pytest.approx(math.log(3) + math.log(1 + 2 * 4))


@pytest.mark.parametrize("name", ["within_report", "batch"])
def test_orthonormal_pairs_lose_their_loss_as_the_temperature_falls(name):
    basis = torch.eye(12, dtype=torch.float64).reshape(3, 4, 12)
    inputs = replace(distinct_inputs(3, 4, patches=4), sentences=basis, patches=basis)
    losses = [
        NEGATIVES[name](inputs, top_k=1, temperature=t, reduction="report").item()
        for t in (1.0, 0.3, 0.1, 0.01)
    ]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1e-12
    pool = 4 if name == "within_report" else 12
    assert losses[0] == pytest.approx(2 * math.log(1 + (pool - 1) / math.e))


def test_info_nce_of_both_directions_is_symmetric():
    """Swapping sentences and regions leaves the sum of both directions as it is."""
    logits = torch.randn(1, 5, 5, generator=torch.Generator().manual_seed(0))
    is_positive = torch.eye(5, dtype=torch.bool)[None]
    there = info_nce(logits, is_positive, ~is_positive)
    back = info_nce(logits.mT, is_positive, ~is_positive)
    labels = torch.arange(5)
    expected = torch.nn.functional.cross_entropy(logits[0], labels, reduction="none")
    torch.testing.assert_close(there[0], expected)
    expected = torch.nn.functional.cross_entropy(logits[0].T, labels, reduction="none")
    torch.testing.assert_close(back[0], expected)


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_info_nce_is_positive_and_ignores_a_shift_of_the_logits(seed):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 4, 6, generator=draw, dtype=torch.float64)
    kinds = torch.randint(3, (2, 4, 6), generator=draw)
    loss = info_nce(logits, kinds == 0, kinds == 1)
    assert (loss >= 0).all()
    torch.testing.assert_close(info_nce(logits + 7.0, kinds == 0, kinds == 1), loss)


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


def image_blind_loss(name, steps=60):
    """Train one codebook of patches that is the same in every volume; return the final loss."""
    inputs = distinct_inputs(batch=4, sentences=3, patches=16, shared=8)
    codebook = torch.randn(1, 16, 8, generator=torch.Generator().manual_seed(3)).double()
    codebook.requires_grad_()
    optimiser = torch.optim.Adam([codebook], lr=0.1)
    for _ in range(steps):
        blind = replace(inputs, patches=codebook.expand(4, -1, -1))
        loss = NEGATIVES[name](blind, **PAPER)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return loss.item()


@pytest.mark.parametrize(("name", "reached"), [("within_report", 0.01), ("batch", 0.1)])
def test_a_codebook_of_positions_solves_the_task_without_the_image(name, reached):
    """method.md, section 6: these losses can fall to zero with equal patches in every volume."""
    assert image_blind_loss(name) < reached


@pytest.mark.parametrize(("top_k", "loss"), [(1, 1.68), (8, 0.45), (32, 0.08), (686, 3.06)])
def test_selection_alone_makes_the_loss_small(top_k, loss):
    """method.md, section 6: random patches, 20 sentences, chance ln 20 = 3.00 per direction."""
    inputs = distinct_inputs(batch=4, sentences=20, patches=686, shared=768)
    options = {"top_k": top_k, "temperature": 0.07, "reduction": "report"}
    found = NEGATIVES["within_report"](cast(inputs, torch.float32), **options)
    assert found.item() / 2 == pytest.approx(loss, rel=0.1)


def test_a_codebook_of_positions_leaves_per_image_at_chance():
    """Only `per_image` forces the model to look: 4 volumes, 1 + 3 x 3 sentences per volume."""
    chance = math.log(4) + math.log(1 + 3 * 3)
    assert image_blind_loss("per_image") > chance - 1e-6
