"""One batch over all processes: which studies are whose, and how parts become the whole.

A run in W processes takes the same steps as a run in one: a global batch is the same studies in
the same order, of which each process holds a stretch, and every draw is made for the global batch.

The rule by which losses agree, once for all terms. Lightning averages gradients over processes.

* A term that is a sum over studies divided by a count (hidden voxels, hidden words, reports):
  each process divides its own sum by the *mean* count of a process. The average over processes is
  the sum of all divided by the count of all.
* A term that compares studies (negatives of other reports): what it compares is gathered with
  gradient, and every process computes the whole term. Each then has the same value; the gradient
  that arrives at a study's embeddings is W times the true one, which the average divides again.

So the average over processes of what `losses` returns, and of its gradient, is that of one
process with the global batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor


@dataclass(frozen=True)
class GlobalBatch:
    """The place of this process's studies in the global batch.

    Attributes:
        sizes: number of studies of each process.
        rank: number of this process.
        num_sentences: sentences of the longest report of all processes.
    """

    sizes: tuple[int, ...]
    rank: int
    num_sentences: int

    @classmethod
    def alone(cls, num_studies: int, num_sentences: int) -> "GlobalBatch":
        """Return the global batch that one process holds by itself."""
        return cls((num_studies,), 0, num_sentences)

    @classmethod
    def shared(cls, num_studies: int, num_sentences: int, device: torch.device) -> "GlobalBatch":
        """Return the global batch of all processes, each of which calls this."""
        if num_processes() == 1:
            return cls.alone(num_studies, num_sentences)
        own = torch.tensor([num_studies, num_sentences], device=device)
        each = [torch.empty_like(own) for _ in range(num_processes())]
        dist.all_gather(each, own)
        sizes, sentences = zip(*(row.tolist() for row in each), strict=True)
        return cls(sizes, dist.get_rank(), max(sentences))

    @property
    def num_studies(self) -> int:
        """Studies of the global batch."""
        return sum(self.sizes)

    @property
    def own(self) -> slice:
        """The rows of the global batch that this process holds."""
        end = [*accumulate(self.sizes)][self.rank]
        return slice(end - self.sizes[self.rank], end)

    def mean(self, values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the average over processes; no gradient passes."""
        values = values.detach().clone()
        if len(self.sizes) > 1:
            dist.all_reduce(values)
        return values / len(self.sizes)

    def gather(self, rows: Shaped[Tensor, "studies ..."]) -> Shaped[Tensor, "global_studies ..."]:
        """Return the rows of all processes in the order of the global batch.

        Gradients of all processes add up at the rows they belong to.
        """
        if len(self.sizes) == 1:
            return rows
        is_bool = rows.dtype == torch.bool  # which not every backend sends
        padded = rows.new_zeros(
            (max(self.sizes), *rows.shape[1:]), dtype=torch.uint8 if is_bool else None
        )
        padded = torch.cat([rows.to(padded.dtype), padded[len(rows) :]])
        parts = _Gather.apply(padded)
        whole = torch.cat([part[:n] for part, n in zip(parts, self.sizes, strict=True)])
        return whole.bool() if is_bool else whole


def gather_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names that all processes hold, in the order of the global batch."""
    each: list[Sequence[str]] = [names] * num_processes()
    if len(each) > 1:
        dist.all_gather_object(each, tuple(names))
    return tuple(name for of_process in each for name in of_process)


def num_processes() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _Gather(torch.autograd.Function):
    """The rows of every process; backward sums over processes what each sends to these rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(num_processes())]
        dist.all_gather(parts, rows)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        gradient = gradients[0].clone()
        dist.all_reduce(gradient)
        return gradient[dist.get_rank()]
