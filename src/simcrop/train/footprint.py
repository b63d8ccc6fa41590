"""What a training step takes, found by running it on tensors that have shapes and no storage.

The networks, the losses, the backward pass and AdamW run as they are under `FakeTensorMode`; a
dispatch mode follows which storages live at a time and adds up the matrix products. So the figures
follow the implementation, options included, and a step of a hundred gigabytes is counted in seconds
on a laptop. What kernels allocate for themselves is not seen; it is small.
"""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from simcrop.config import Config
from simcrop.train.optimization import build_optimizer
from simcrop.train.pretrain import step_generator
from simcrop.train.rehearsal import TextLengths, rehearsal, rehearsal_batch

_ATEN = torch.ops.aten


@dataclass(frozen=True)
class Footprint:
    """What one step takes on one device.

    Attributes:
        peak_bytes: most bytes alive at a time: weights, AdamW's averages, gradients, activations.
        trained_bytes: of the weights that train, in fp32; gradients take as much again.
        state_bytes: alive between steps: all weights and AdamW's averages.
        waiting_bytes: of the peak, the studies that on a GPU wait in the host's memory, where a
            batch goes through the networks in parts (`optimizer.micro_batch`).
        flops: of the matrix products, recomputation included, two per multiplication and addition.
    """

    peak_bytes: int
    trained_bytes: int
    state_bytes: int
    waiting_bytes: int
    flops: int


def footprint(config: Config, num_studies: int, text: TextLengths, *, is_bf16: bool) -> Footprint:
    """Return what a step of this many studies takes with this configuration."""
    plain = config.trainer.model_copy(update={"compile": False})
    config = config.model_copy(update={"trainer": plain})
    with FakeTensorMode(), LiveStorages(_share_of_counted_words(config)) as live:
        step = Step(config, num_studies, text, is_bf16=is_bf16)
        trained = sum(p.numel() * p.element_size() for p in step.trained)
        state = live.now - trained
        live.start()
        step()
    return Footprint(live.peak, trained, state, step.waiting_bytes, live.flops)


class Step:
    """One step of training on made-up studies, as it is in the middle of a run.

    Optimizer state and old gradients are there. Lightning lets go of old gradients only before the
    backward pass; with accumulated batches they stay.
    """

    def __init__(
        self, config: Config, num_studies: int, text: TextLengths, *, is_bf16: bool
    ) -> None:
        self.is_bf16 = is_bf16
        self.keeps_gradients = config.optimizer.accumulate > 1
        self.module = rehearsal(config)
        dim = self.module.text_encoder.dim
        self.batch = rehearsal_batch(config, dim, num_studies, text)
        self.trained = [p for p in self.module.parameters() if p.requires_grad]
        self.optimizer = build_optimizer(self.module.simcrop, config.optimizer)
        for parameter in self.trained:
            parameter.grad = torch.zeros_like(parameter)
        self.optimizer.step()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the batch that are not in the part at hand."""
        at_once = self.module.config.optimizer.micro_batch or len(self.batch)
        rest = self.batch.rows(slice(at_once, None))
        tensors = (value for value in vars(rest).values() if isinstance(value, Tensor))
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def __call__(self) -> None:
        """Run it."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.is_bf16):
            losses = self.module.losses(self.batch, step_generator(0, 0))
            total = self.module.total(losses)
        if not self.keeps_gradients:
            self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()


def _share_of_counted_words(config: Config) -> float:
    return 1.0 if config.terms.report_positions == "all" else config.masking.word_ratio


class LiveStorages(TorchDispatchMode):
    """Follow the bytes of all tensors that are alive, and add up the matrix products.

    Where a step asks for values, which such tensors have not, the answer is the dearer one: words
    are counted by their share, and a crop has padding.

    Args:
        share_counted: share of the words that a selection by booleans keeps.
    """

    def __init__(self, share_counted: float) -> None:
        super().__init__()
        self.share_counted = share_counted
        self.now = self.peak = self.flops = 0
        self._known: dict[int, weakref.ref] = {}

    def start(self) -> None:
        """Count from here: the peak is what is alive now, the work is none."""
        self.peak, self.flops = self.now, 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Iterable[type],
        args: tuple = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operation and note what it made."""
        out = self._answer(func, args, dict(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._note(tensor)
        count = _FLOPS.get(func.overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=out)
        return out

    def _answer(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        if func is _ATEN._local_scalar_dense.default:
            return args[0].dtype == torch.bool or 1
        if func.overloadpacket is _ATEN.index and _is_selection(args[1]):
            mask = args[1][0]
            count = round(self.share_counted * mask.numel())
            return args[0].new_empty(count, *args[0].shape[mask.ndim :])
        if func.overloadpacket is _ATEN._index_put_impl_ and _is_selection(args[1]):
            return args[0]
        return func(*args, **kwargs)

    def _note(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._known and self._known[key]() is storage:
            return
        size = storage.nbytes()
        self._known[key] = weakref.ref(storage, lambda _: self._forget(size))
        self.now += size
        self.peak = max(self.peak, self.now)

    def _forget(self, size: int) -> None:
        self.now -= size


def _is_selection(indices: Any) -> bool:
    return len(indices) == 1 and indices[0] is not None and indices[0].dtype == torch.bool


_FLOPS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    _ATEN._scaled_dot_product_flash_attention_for_cpu: lambda q, k, v, *_, **__: sdpa_flop_count(
        q.shape, k.shape, v.shape
    ),
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, q, k, v, *_, **__: sdpa_backward_flop_count(
            grad.shape, q.shape, k.shape, v.shape
        )
    ),
}
