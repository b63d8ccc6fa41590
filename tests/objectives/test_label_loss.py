"""The loss of a head is the log loss of its probabilities, against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss

from simcrop.objectives.label_loss import label_loss, label_probabilities


@pytest.mark.parametrize("are_exclusive", [False, True])
def test_the_loss_is_minus_the_log_of_the_probability(are_exclusive):
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(3 * rng.normal(size=(20, 3)))
    labels = rng.integers(2, size=(20, 3))
    if are_exclusive:
        labels = np.eye(3, dtype=int)[rng.integers(3, size=20)]
    loss = label_loss(logits, torch.from_numpy(labels).double(), are_exclusive=are_exclusive)
    found = label_probabilities(logits, are_exclusive=are_exclusive).numpy()
    if are_exclusive:
        assert float(loss) == pytest.approx(log_loss(labels.argmax(axis=1), found))
        np.testing.assert_allclose(found.sum(axis=1), 1)
    else:
        each = [log_loss(labels[:, i], found[:, i], labels=[0, 1]) for i in range(3)]
        assert float(loss) == pytest.approx(np.mean(each))
