"""One, two and four processes: the same studies, losses and gradients; so do micro-batches."""

import pytest
import torch
from many_processes import FORMS, exact, launch, one_step, validation, world

from simcrop.train.pretrain import step_generator
from tiny_run import batch_of

SIZE = 8
BY_FOUR = ("batch", "everything", "dropout")
IN_PARTS = ("within_report_by_sentence", "batch", "standardised", "everything", "dropout")


@pytest.fixture(scope="module")
def alone(phantom_store):
    """What one process finds."""
    return {name: one_step(phantom_store, form, SIZE) for name, form in FORMS.items()}


@pytest.fixture(scope="module")
def together(alone, phantom_store, tmp_path_factory):
    """What two and four processes find; texts are cached by now."""
    in_parts = {f"{name} in parts": (*FORMS[name], "optimizer.micro_batch=1") for name in IN_PARTS}
    forms = {2: FORMS | in_parts, 4: {name: FORMS[name] for name in BY_FOUR}}
    return launch(tmp_path_factory.mktemp("together"), phantom_store.folder, forms, SIZE)


def test_words_are_dropped_in_training_and_never_in_validation(phantom_store):
    plain, dataset = world(phantom_store, FORMS["within_report"])
    dropping, _ = world(phantom_store, FORMS["dropout"])
    batch = exact(batch_of(dataset, range(2)))

    def loss(module):
        return module.losses(batch, step_generator(0, 0))["report_loss"]

    assert loss(plain.train()) != loss(dropping.train())
    assert loss(plain.eval()) == loss(dropping.eval())


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    assert found["study_ids"] == expected["study_ids"]
    for name, value in expected.items():
        if name != "study_ids":
            torch.testing.assert_close(found[name], value, rtol=1e-7, atol=1e-9, msg=name)


@pytest.mark.parametrize("form", FORMS)
def test_two_processes_find_what_one_finds(form, alone, together):
    assert_equal(together[2][form], alone[form])


@pytest.mark.parametrize("form", BY_FOUR)
def test_so_do_four(form, alone, together):
    assert_equal(together[4][form], alone[form])


@pytest.mark.parametrize("form", IN_PARTS)
def test_so_do_processes_with_micro_batches(form, alone, together):
    assert_equal(together[2][f"{form} in parts"], alone[form])


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_validation_that_does_not_divide_gives_what_one_process_finds(
    ranks, phantom_store, together
):
    assert_equal(together[ranks]["validation"], validation(phantom_store))
