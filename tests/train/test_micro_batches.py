"""A batch in micro-batches: the losses and gradients of the plain step, in constant memory."""

import weakref

import pytest
import torch
from many_processes import FORMS, exact, one_step, world
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from simcrop.train.pretrain import Pretraining, step_generator
from tiny_run import batch_of

CONTRASTS = ("alignment.negatives=per_image", "terms.instance_contrast=true")


def gradients(module: Pretraining, batch) -> list[torch.Tensor]:
    total = module.total(module.losses(batch, step_generator(0, 0)))
    return [*torch.autograd.grad(total, [*module.simcrop.parameters()])]


@pytest.mark.parametrize("form", FORMS)
def test_sixteen_micro_batches_find_what_the_plain_step_finds(form, phantom_store):
    plain = one_step(phantom_store, FORMS[form], 16)
    in_parts = one_step(phantom_store, (*FORMS[form], "optimizer.micro_batch=1"), 16)
    assert plain.pop("study_ids") == in_parts.pop("study_ids")
    for name, value in plain.items():
        torch.testing.assert_close(in_parts[name], value, rtol=1e-7, atol=1e-9, msg=name)


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all tensors made inside that are alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self.known = WeakIdKeyDictionary()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor) and tensor.untyped_storage() not in self.known:
                storage = tensor.untyped_storage()
                self.known[storage] = True
                self.live += storage.nbytes()
                self.peak = max(self.peak, self.live)
                weakref.finalize(storage, self.release, storage.nbytes())
        return result

    def release(self, size: int) -> None:
        self.live -= size


def peak(store, settings: tuple[str, ...], num_studies: int) -> int:
    module, dataset = world(store, settings)
    batch = exact(batch_of(dataset, range(16))).rows(slice(num_studies))
    with LiveBytes() as counter:
        gradients(module, batch)
    return counter.peak


@pytest.mark.parametrize("negatives", ["batch", "per_image"])
def test_memory_is_that_of_a_micro_batch(negatives, phantom_store):
    form = (f"alignment.negatives={negatives}", "terms.instance_contrast=true")
    in_parts = (*form, "optimizer.micro_batch=1")
    four, sixteen = (peak(phantom_store, in_parts, number) for number in (4, 16))
    plain = peak(phantom_store, form, 16)
    assert sixteen < 1.2 * four
    assert plain > 3 * sixteen


@pytest.mark.parametrize("num_studies", [1, 3])
def test_a_last_micro_batch_may_be_smaller(num_studies, phantom_store):
    plain, dataset = world(phantom_store, CONTRASTS)
    parted, _ = world(phantom_store, (*CONTRASTS, "optimizer.micro_batch=2"))
    batch = exact(batch_of(dataset, range(num_studies)))
    for mine, expected in zip(gradients(parted, batch), gradients(plain, batch), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-7, atol=1e-9)
