"""Volumes with a known signal, as heads get them: what the tests of heads share."""

import numpy as np

from simcrop.evaluate.held_out import Development, HeldOut, Inputs, Part

DIM = 12
DIRECTIONS = np.random.default_rng(99).normal(size=(DIM, 6))


def part(num_volumes, num_labels, seed=0, name="v", *, exclusive=False, signal=1.0) -> Part:
    """Features on very different scales whose labels a linear head can read, with noise."""
    rng = np.random.default_rng(seed)
    scale = np.linspace(0.1, 30, DIM)
    vectors = rng.normal(size=(num_volumes, DIM)) * scale + 5
    evidence = signal * (vectors - 5) / scale @ DIRECTIONS[:, :num_labels]
    evidence += rng.normal(size=evidence.shape)
    labels = (evidence > 1).astype(np.int64)
    if exclusive:
        labels = np.eye(num_labels, dtype=np.int64)[evidence.argmax(axis=1)]
    ids = tuple(f"{name}{i}" for i in range(num_volumes))
    return Part(Inputs(vectors), labels, ids, tuple(f"{name}p{i // 2}" for i in range(num_volumes)))


def names(num_labels) -> tuple[str, ...]:
    return tuple(f"label {i}" for i in range(num_labels))


def development(num_labels=3, *, train=300, val=150, exclusive=False, signal=1.0) -> Development:
    parts = [
        part(n, num_labels, seed, name, exclusive=exclusive, signal=signal)
        for n, seed, name in ((train, 0, "t"), (val, 1, "v"))
    ]
    return Development(*parts, names(num_labels), exclusive)


def held_out(num_labels=3, *, test=200, exclusive=False, signal=1.0) -> HeldOut:
    tested = part(test, num_labels, 2, "h", exclusive=exclusive, signal=signal)
    return HeldOut(tested, names(num_labels))
