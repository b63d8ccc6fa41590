"""Heads trained by gradient: the authors' schedule, the best look at validation, patch tokens."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from simcrop.config import HeadConfig
from simcrop.errors import DataError
from simcrop.evaluate.classification import mean_auroc
from simcrop.evaluate.held_out import Development, Inputs, Part
from simcrop.model.heads import LinearHead
from simcrop.recipes.heads import PAPER_HEADS, paper_head, protocol_of
from simcrop.train import gradient_head
from simcrop.train.gradient_head import fit_attentive, fit_paper_head

QUICK = HeadConfig(lr=0.05, batch_size=32, steps=60, warmup=5, patience=50)


def part(num_volumes, seed, *, exclusive=False) -> Part:
    """One of eight patches holds the finding, at a random place; the vector is their mean."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((num_volumes, 3)) < 0.4).astype(np.int64)
    if exclusive:
        labels = np.eye(3, dtype=np.int64)[rng.integers(3, size=num_volumes)]
    tokens = rng.normal(size=(num_volumes, 8, 16)).astype(np.float16)
    for i, label in zip(*np.nonzero(labels), strict=True):
        tokens[i, rng.integers(8), label] += 6
    ids = tuple(f"{seed}-{i}" for i in range(num_volumes))
    vectors = tokens.astype(np.float32).mean(axis=1)
    return Part(Inputs(vectors, tokens, np.arange(num_volumes)), labels, ids, ids)


def development(*, exclusive=False, train=160) -> Development:
    parts = [part(n, seed, exclusive=exclusive) for n, seed in ((train, 0), (80, 1))]
    return Development(*parts, ("a", "b", "c"), exclusive)


@pytest.mark.parametrize("exclusive", [False, True])
@pytest.mark.parametrize("fit", [fit_paper_head, fit_attentive])
def test_a_head_learns_and_validation_takes_its_best_step(fit, exclusive):
    head = fit(development(exclusive=exclusive), QUICK, seed=1)
    tested = part(150, 2, exclusive=exclusive)
    scores = head.predict(tested.inputs)
    assert mean_auroc(scores, tested.labels).value > 0.8
    best = max(one.val_score for one in head.candidates.values())
    assert head.candidates[head.choice].val_score == best
    if exclusive:
        np.testing.assert_allclose(scores.sum(axis=1), 1)


def test_the_same_seed_gives_the_same_head_and_leaves_the_process_stream_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    runs = [fit_paper_head(development(), QUICK, seed=s) for s in (1, 1, 2)]
    assert torch.rand(1) == expected
    scores = [head.predict(part(20, 2).inputs) for head in runs]
    np.testing.assert_array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_the_rate_rises_falls_to_nothing_and_the_steps_are_exact(monkeypatch):
    rates = []
    schedule = gradient_head.warmup_cosine

    def record(*arguments):
        share = schedule(*arguments)
        return lambda step: rates.append(share(step)) or rates[-1]

    monkeypatch.setattr(gradient_head, "warmup_cosine", record)
    head = fit_paper_head(development(), QUICK)
    assert len(rates) == QUICK.steps + 1  # the last is set and never used
    assert max(rates) == 1 == rates[4]
    assert rates[-1] == 0
    assert f"step {QUICK.steps}" in head.candidates


def test_patience_ends_a_run_that_brings_nothing():
    still = QUICK.model_copy(update={"lr": 1e-12, "patience": 3, "first_patient_epoch": 2})
    head = fit_paper_head(development(), still)
    assert len(head.candidates) == 2 + 3  # an epoch is 5 steps: looks at 5, 10, and three in vain


def test_the_linear_head_starts_at_nothing_and_standardises_each_volume():
    head = LinearHead(16, 3)
    vectors = torch.randn(5, 16)
    assert head(vectors).abs().max() < 1e-3
    torch.nn.init.normal_(head.linear.weight)
    torch.testing.assert_close(head(3 * vectors + 2), head(vectors), atol=1e-4, rtol=1e-4)
    assert [*head.state_dict()] == ["linear.weight", "linear.bias"]


def test_without_tokens_or_validation():
    whole = development()
    bare = [replace(p, inputs=Inputs(p.inputs.vectors)) for p in (whole.train, whole.val)]
    with pytest.raises(DataError, match="patch-tokens"):
        fit_attentive(Development(*bare, whole.label_names), QUICK)
    empty = replace(whole, val=whole.val.take(np.zeros(0, dtype=np.int64)))
    assert fit_paper_head(empty, QUICK).choice == "step 60"
    tiny = replace(whole, train=whole.train.take(np.arange(3)))
    assert np.isfinite(fit_paper_head(tiny, QUICK).predict(whole.val.inputs)).all()


def test_the_values_of_the_paper_are_those_of_the_table():
    """method.md, section 11: rate, batch, steps, warm-up and patience of every run."""
    one = paper_head("ct_rate", 1.0)
    assert (one.lr, one.batch_size, one.steps, one.warmup, one.patience) == (
        3e-3, 64, 10000, 1500, 10,
    )  # fmt: skip
    assert paper_head("rad_chest_ct", 0.01) == PAPER_HEADS["rad_chest_ct"][0.1]
    assert paper_head("cc_ccii", 0.01).batch_size == 29
    assert {f for fractions in PAPER_HEADS.values() for f in fractions} == {0.01, 0.1, 1.0}
    assert protocol_of(("Lung nodule",)) == "luna16"
    assert protocol_of(("Something",)) == "rad_chest_ct"
