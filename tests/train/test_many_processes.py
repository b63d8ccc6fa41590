"""One, two and four processes: the same studies, losses and gradients; so do micro-batches."""

import pytest
import torch
from many_processes import FORMS, launch, one_step

SIZE = 8
IN_PARTS = {f"{name} in parts": (*form, "optimizer.micro_batch=1") for name, form in FORMS.items()}


@pytest.fixture(scope="module")
def alone(phantom_store):
    """What one process finds."""
    return {name: one_step(phantom_store, form, SIZE) for name, form in FORMS.items()}


@pytest.fixture(scope="module")
def together(alone, phantom_store, tmp_path_factory):
    """What two and four processes find; texts are cached by now."""
    folder = tmp_path_factory.mktemp("together")
    return launch((2, 4), folder, phantom_store.folder, FORMS | IN_PARTS, SIZE)


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert found["study_ids"] == expected["study_ids"]
    for name, value in expected.items():
        if name != "study_ids":
            torch.testing.assert_close(found[name], value, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("form", FORMS)
def test_processes_find_what_one_finds(form, ranks, alone, together):
    assert_equal(together[ranks][form], alone[form])


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("form", FORMS)
def test_processes_with_micro_batches_do_too(form, ranks, alone, together):
    assert_equal(together[ranks][f"{form} in parts"], alone[form])
