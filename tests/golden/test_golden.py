"""The first losses of `tiny` stay what they are, unless a commit says why they moved."""

import json

import pytest
from make import LOSSES, NUM_STEPS, tiny_losses

# Other instruction sets (SSE4.2, AVX2, without oneDNN) and two threads move them by at most 5e-6;
# a real change, such as one weight initialised otherwise, by far more than 1e-4.
TOLERANCE = 1e-4


def test_the_first_losses_of_tiny_are_the_golden_ones(tmp_path):
    golden = json.loads(LOSSES.read_text())
    losses = tiny_losses(tmp_path)
    assert len(losses) == len(golden["total_losses"]) == NUM_STEPS
    assert losses == pytest.approx(golden["total_losses"], rel=TOLERANCE), (
        f"losses moved (golden ones were made with {golden['versions']}); if that is meant, run "
        "`python tests/golden/make.py` and commit the file on its own, saying why"
    )
