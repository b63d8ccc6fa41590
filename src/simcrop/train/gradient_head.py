"""Heads that learn by gradient on features computed once: the authors' and the attentive one.

Validation is looked at after every epoch (but not too often in a run), each look keeps a candidate,
and the best of them is the head. The number of steps is exact and the cosine ends at 0.

Differs: the authors look up the number of steps at epoch ends, for exact multiples only, so that
their runs overrun while the cosine rises again, and select on the test list (method.md 18.1, 18.8).
Their features come from an encoder in training mode with augmentation; ours are computed once.

Paper: downstream linear probing (method.md, section 11).
"""

import copy
import itertools
import math
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from simcrop.config import HeadConfig
from simcrop.errors import DataError, complain
from simcrop.evaluate.held_out import (
    Development,
    FixedHead,
    Inputs,
    Predict,
    fix_head,
    selection_score,
)
from simcrop.model.heads import AttentiveHead, LinearHead
from simcrop.objectives.label_loss import label_loss, label_probabilities
from simcrop.train.optimization import warmup_cosine

MOST_LOOKS, MOST_LOOKS_AT_TOKENS = 200, 20  # in a run; patch tokens take long to read
_ROWS = 64  # volumes predicted at a time


def fit_paper_head(
    development: Development, config: HeadConfig, *, seed: int = 0, device: str = "cpu"
) -> FixedHead:
    """Fit the authors' linear probe: AdamW, warm-up, cosine; the best step by validation."""
    dim = development.train.inputs.vectors.shape[1]
    with _seeded(seed):
        network = LinearHead(dim, len(development.label_names))
    return _fit(development, config, network, seed, device)


def fit_attentive(
    development: Development, config: HeadConfig, *, seed: int = 0, device: str = "cpu"
) -> FixedHead:
    """Fit a query that looks over the patch tokens.

    Raises:
        DataError: if the features have no patch tokens.
    """
    tokens = development.train.inputs.tokens
    if tokens is None:
        remedy = "Run `simcrop embed --patch-tokens`, then probe with --features."
        raise DataError(complain("features without patch tokens", "patch_tokens.npy", remedy))
    with _seeded(seed):
        network = AttentiveHead(tokens.shape[2], len(development.label_names))
    return _fit(development, config, network, seed, device)


@contextmanager
def _seeded(seed: int) -> Generator[None]:
    """Draw initial weights by a seed and leave the process's own stream alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@dataclass(frozen=True, eq=False)
class NetworkHead:
    """A trained head with its way from inputs to probabilities."""

    network: nn.Module
    are_exclusive: bool
    device: str

    @torch.inference_mode()
    def __call__(self, inputs: Inputs) -> Float[np.ndarray, "volumes labels"]:
        """Return the probability of each label."""
        rows = np.arange(len(inputs))
        chunks = np.split(rows, range(_ROWS, len(rows), _ROWS))
        logits = torch.cat([self.network(self.read(inputs, chunk)) for chunk in chunks])
        return label_probabilities(logits.double(), are_exclusive=self.are_exclusive).cpu().numpy()

    def read(self, inputs: Inputs, rows: Int[np.ndarray, " rows"]) -> Tensor:
        """Return what the network reads of some volumes: vectors, or patch tokens."""
        if isinstance(self.network, LinearHead):
            found = inputs.vectors[rows]
        else:
            assert inputs.tokens is not None
            found = inputs.tokens[inputs.rows[rows]]
        return torch.from_numpy(found.astype(np.float32)).to(self.device)


def _fit(
    development: Development, config: HeadConfig, network: nn.Module, seed: int, device: str
) -> FixedHead:
    train, are_exclusive = development.train, development.are_exclusive
    head = NetworkHead(network.to(device), are_exclusive, device)
    size = min(config.batch_size, len(train))
    looks = _Looks(development, config, len(train) // size, network)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, warmup_cosine(config.warmup, config.steps)
    )
    labels = torch.from_numpy(train.labels).float().to(device)
    for step, rows in zip(
        range(1, config.steps + 1), _batches(len(train), size, seed), strict=False
    ):
        loss = label_loss(
            network(head.read(train.inputs, rows)), labels[rows], are_exclusive=are_exclusive
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimizer.step()
        schedule.step()
        if looks.are_due(step) and not looks.take(step, head):
            break
    return fix_head(
        development,
        looks.candidates,
        default=[*looks.candidates][-1],
        settings={"seed": seed, **config.model_dump()},
        val_scores=looks.scores,
    )


def _batches(num_volumes: int, size: int, seed: int) -> Iterator[np.ndarray]:
    """Yield full batches without end; every epoch is a new order, its rest is passed over."""
    for epoch in itertools.count():
        order = np.random.default_rng((seed, epoch)).permutation(num_volumes)
        yield from (order[i : i + size] for i in range(0, num_volumes - size + 1, size))


class _Looks:
    """Looks at validation in the course of a run: what each saw, and when there were enough."""

    def __init__(
        self, development: Development, config: HeadConfig, per_epoch: int, network: nn.Module
    ) -> None:
        most = MOST_LOOKS if isinstance(network, LinearHead) else MOST_LOOKS_AT_TOKENS
        self._every = max(per_epoch, math.ceil(config.steps / most))
        self._first_patient = config.first_patient_epoch * per_epoch
        self._config = config
        self._val = development.val
        self._in_vain = 0
        self.candidates: dict[str, Predict] = {}
        self.scores: dict[str, float] = {}

    def are_due(self, step: int) -> bool:
        return step % self._every == 0 or step == self._config.steps

    def take(self, step: int, head: NetworkHead) -> bool:
        """Keep the head as it is now; return whether training goes on."""
        kept = replace(head, network=copy.deepcopy(head.network).eval())
        best = max(self.scores.values(), default=-math.inf)
        score = selection_score(kept(self._val.inputs), self._val) if self._val else math.nan
        self.candidates[f"step {step}"], self.scores[f"step {step}"] = kept, score
        is_vain = step > self._first_patient and score <= best
        self._in_vain = self._in_vain + 1 if is_vain else 0
        return self._in_vain < self._config.patience
