"""Whole volumes against whole reports: a slow reference, duplicates, missing reports, limits."""

import math

import pytest
import torch
import torch.nn.functional as F

from simcrop.objectives.instance_contrast import instance_contrast, say_the_same

KEYS = torch.tensor([[1, 2, 0], [1, 2, 0], [2, 1, 0], [1, 2, 5], [0, 0, 0]])
IS_VALID = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]]).bool()
HAS_REPORT = IS_VALID.any(dim=1)


def embeddings(dtype=torch.float64, count=5):
    draw = torch.Generator().manual_seed(0)
    pair = torch.randn(2, count, 4, generator=draw, dtype=torch.float64).to(dtype)
    return pair[0].requires_grad_(), pair[1].requires_grad_()


def reference(volumes, reports, same, has_report, temperature):
    """One study and one direction at a time, from the formula alone."""
    known = [i for i in range(len(volumes)) if has_report[i]]

    def logit(volume, report):
        return (
            volumes[volume]
            @ reports[report]
            / (volumes[volume].norm() * reports[report].norm() * temperature)
        )

    losses = []
    for i in known:
        own = [j for j in known if same[i][j]]
        others = [j for j in known if not same[i][j]]
        if not others:
            continue
        total = 0
        for pair in (lambda a, b: logit(a, b), lambda a, b: logit(b, a)):
            right = sum(pair(i, j).exp() for j in own)
            total = total - (right / (right + sum(pair(i, j).exp() for j in others))).log()
        losses.append(total)
    return sum(losses) / len(losses)


def test_reports_are_the_same_when_their_sentences_are_in_the_same_order():
    same = say_the_same(KEYS, IS_VALID)
    assert same.diagonal().all()
    assert same.fill_diagonal_(False).nonzero().tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=str
)
def test_value_and_gradients_agree_with_the_reference(dtype, tolerance):
    same = say_the_same(KEYS, IS_VALID)
    pair = embeddings(dtype)
    loss = instance_contrast(*pair, same, HAS_REPORT, 0.3)
    exact_pair = embeddings()
    exact = reference(*exact_pair, same.tolist(), HAS_REPORT.tolist(), 0.3)
    found = [loss, *torch.autograd.grad(loss, pair)]
    expected = [exact, *torch.autograd.grad(exact, exact_pair)]
    for one, other in zip(found, expected, strict=True):
        assert (one.double() - other).abs().max() <= tolerance


def test_without_duplicates_it_is_the_symmetric_cross_entropy_of_clip():
    volumes, reports = embeddings(torch.float32)
    logits = F.normalize(volumes, dim=1) @ F.normalize(reports, dim=1).T / 0.07
    expected = F.cross_entropy(logits, torch.arange(5)) + F.cross_entropy(logits.T, torch.arange(5))
    found = instance_contrast(volumes, reports, torch.eye(5).bool(), torch.ones(5).bool(), 0.07)
    torch.testing.assert_close(found, expected)


def test_a_study_without_findings_changes_nothing():
    same = say_the_same(KEYS, IS_VALID)
    volumes, reports = embeddings()
    loss = instance_contrast(volumes, reports, same, HAS_REPORT, 0.3)
    alone = instance_contrast(volumes[:4], reports[:4], same[:4, :4], HAS_REPORT[:4], 0.3)
    torch.testing.assert_close(loss, alone)
    gradient = torch.autograd.grad(loss, volumes)[0]
    assert not gradient[4].any()


@pytest.mark.parametrize("same", [torch.ones(5, 5), torch.eye(5)], ids=["equal", "no_report"])
def test_a_batch_without_a_negative_pair_has_no_loss_and_no_gradient(same):
    volumes, reports = embeddings()
    has_report = torch.full((5,), bool(same.all()))
    loss = instance_contrast(volumes, reports, same.bool(), has_report, 0.07)
    assert loss.item() == 0
    assert not torch.autograd.grad(loss, volumes)[0].any()


def test_equal_embeddings_cost_the_logarithm_of_the_number_of_studies_twice():
    ones = torch.ones(5, 4)
    loss = instance_contrast(ones, ones, torch.eye(5).bool(), torch.ones(5).bool(), 0.07)
    assert loss.item() == pytest.approx(2 * math.log(5), rel=1e-5)
