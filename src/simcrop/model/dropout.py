"""Dropout whose draws belong to the study, whatever batch it stands in.

Whether a value is dropped is a hash of the study's key, of the place in the network and of the
value's own place (word, channel, head, key). So it depends neither on the number of processes, nor
on the size of micro-batches, nor on the padding of the batch, all of which move the draws of a
generator, and a pass that is run again drops the same. The mixing step is the finaliser of
MurmurHash3, 32 bits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

KEYS = 2**32  # keys are below it, and not negative
_ODD = 0x9E3779B9  # 2^32 divided by the golden ratio: neighbours come to lie far apart
_MULTIPLIERS = ((16, 0x85EBCA6B), (13, 0xC2B2AE35))


class Dropout(NamedTuple):
    """What drops values in one pass of training; a pass without drops nothing.

    Attributes:
        keys: one number per study, drawn anew in every step.
        rate: share of the values that is dropped; the others are divided by 1 - rate.
    """

    keys: Int[Tensor, " batch"]
    rate: float

    def of(self, place: int) -> "Dropout":
        """Return what drops values at a place of the network; no two places share their draws."""
        return self._replace(keys=_scramble(self.keys + (place + 1) * _ODD))

    def __call__(self, values: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
        """Return the values with some of them zero and the others scaled up."""
        return values * self.keeps(values.shape[1:]) / (1 - self.rate)

    def keeps(self, shape: Sequence[int]) -> Bool[Tensor, "batch ..."]:
        """Return which values stay; a larger shape only adds to those of a smaller one."""
        state = self.keys
        for size in shape:
            places = torch.arange(1, size + 1, device=state.device)
            state = _scramble(state[..., None] + places * _ODD)
        return state >= int(self.rate * KEYS)


def per_place(dropout: Dropout | None, number: int) -> list[Dropout | None]:
    """Return what drops values at so many places of the network."""
    return [None if dropout is None else dropout.of(place) for place in range(number)]


def drop(values: Float[Tensor, "batch ..."], dropout: Dropout | None) -> Tensor:
    """Return the values after dropout, unchanged where there is none."""
    return values if dropout is None else dropout(values)


def _scramble(state: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """Return numbers below 2^32 in which every bit hangs on all bits of the given one."""
    state = state & (KEYS - 1)
    for shift, multiplier in _MULTIPLIERS:
        state = ((state ^ (state >> shift)) * multiplier) & (KEYS - 1)
    return state ^ (state >> 16)
