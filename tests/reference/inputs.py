"""Batches for the alignment, small enough for the slow references."""

from dataclasses import fields, replace

import torch

from simcrop.objectives.contrast import AlignmentInput

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
