"""The supervised CNN that serves as a ceiling."""

import numpy as np

from simcrop.benchmark.cnn import NODES_HU, blocks, predict, train_cnn


def test_a_block_is_shared_between_the_nodes_on_either_side():
    hu = np.full((4, 4, 2), -80, dtype=np.int16)
    hu[:2] = -35  # half-way from fat to water
    shares = blocks(hu)
    assert shares.shape == (len(NODES_HU), 2, 2, 1)
    fat, water = NODES_HU.tolist().index(-80), NODES_HU.tolist().index(10)
    assert shares[fat, 1].min() == 255
    np.testing.assert_allclose(shares[[fat, water], 0, 0, 0], 127.5, atol=1)


def test_it_learns_where_something_bright_lies():
    rng = np.random.default_rng(0)
    hu = rng.normal(-700, 20, (64, 16, 16, 16)).astype(np.int16)
    labels = rng.integers(0, 2, (64, 1)).astype(bool)
    for volume, label in zip(hu, labels[:, 0], strict=True):
        volume[(slice(2, 6), ...) if label else (slice(10, 14), ...)] = 40
    inputs = np.stack([blocks(volume) for volume in hu])
    model = train_cnn(inputs[:48], labels[:48], epochs=8, seed=0)
    logits = predict(model, inputs[48:])[:, 0]
    assert logits[labels[48:, 0]].min() > logits[~labels[48:, 0]].max()
