"""What a pre-training run will take, before a GPU is rented: memory, work, days, storage.

Memory and work come from `footprint`, which runs a step on tensors without storage. Days follow
from published peaks of the GPUs and a share of them that the plan assumes. No GPU has confirmed
these days; memory was checked on CPUs (benchmarks/README.md).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from simcrop.config import Config
from simcrop.errors import ConfigError, complain
from simcrop.train.footprint import Footprint, footprint
from simcrop.train.rehearsal import longest

# Dense bf16 peaks in TFLOP/s, as the makers' data sheets give them.
GPUS = {
    "A100": 312.0,
    "A6000": 155.0,
    "L40S": 362.0,
    "RTX4090": 165.0,
    "H100": 989.0,
    "H200": 989.0,
    "B200": 2250.0,
    "MI300X": 1307.0,
}
CT_RATE_STUDIES = 24_128
"""Studies in the training set of CT-RATE; an epoch takes one of the volumes of each."""
NIFTI_SHARE = 0.53
"""Size of a .nii.gz of the store beside its voxels, measured on one CT (experiments/LOG.md)."""
CONTEXT_BYTES = 1 << 30
"""What a GPU's driver, libraries and the allocator's gaps are taken to need. Assumed."""
_STRAIGHT_GUESSES = 3


@dataclass(frozen=True)
class Machine:
    """What a plan is made for: GPUs of one kind and how much of their peak is reached."""

    gpus: int = 1
    memory_bytes: int | None = None
    mfu: float = 0.4


@dataclass(frozen=True)
class Plan:
    """A run in figures; `largest_batch` is None where no memory was named.

    Attributes:
        batch: studies per GPU and batch, as configured.
        step: what the dearest batch of that size takes, one with a second pass if there is such.
        peak_bytes: of a GPU, with what several GPUs need for their exchange.
        largest_batch: most studies per GPU that fit; 0 where not even one does.
        studies_per_update: over all GPUs and accumulated batches.
        updates: of the whole run.
        flops_per_study: of the matrix products, averaged over batches.
        epochs: passes over the training studies.
        studies: in the training set.
        bytes_per_study: of int16 voxels that an epoch reads of each study.
        is_bf16: whether matrix products are in bf16.
    """

    machine: Machine
    batch: int
    step: Footprint
    peak_bytes: int
    largest_batch: int | None
    studies_per_update: int
    updates: int
    flops_per_study: float
    epochs: float
    studies: int
    bytes_per_study: int
    is_bf16: bool

    def studies_per_second(self, gpu: str) -> float:
        """Return how many studies all GPUs of this kind take in a second."""
        return self.machine.gpus * GPUS[gpu] * 1e12 * self.machine.mfu / self.flops_per_study

    def days(self, gpu: str) -> float:
        """Return the length of the run on GPUs of this kind."""
        return self.epochs * self.studies / self.studies_per_second(gpu) / 86_400


def make_plan(
    config: Config, machine: Machine, *, studies: int = CT_RATE_STUDIES, is_bf16: bool = True
) -> Plan:
    """Return the figures of a run of this configuration on such a machine.

    Reports are taken to be of the largest size and nothing to be cached that is not by
    configuration, so memory and work are upper bounds.

    Args:
        config: the whole tree; `trainer.devices` gives way to the machine's GPUs.
        machine: for which to plan.
        studies: in the training set.
        is_bf16: whether matrix products are in bf16, as on a GPU.
    """
    settings = config.optimizer

    def step(batch: int) -> Footprint:
        return footprint(config, batch, longest(config), is_bf16=is_bf16)

    def peak(taken: Footprint) -> int:
        on_device = taken.peak_bytes - taken.waiting_bytes
        if config.trainer.strategy == "fsdp":  # weights, gradients and two averages are spread
            return on_device - 4 * taken.trained_bytes * (machine.gpus - 1) // machine.gpus
        return on_device + (taken.trained_bytes if machine.gpus > 1 else 0)

    per_update = settings.batch_size * settings.accumulate * machine.gpus
    if per_update > studies:
        raise ConfigError(
            complain(
                f"{per_update} studies per update of {studies} in all",
                "at most as many",
                "Lower optimizer.batch_size, optimizer.accumulate or --gpus.",
            )
        )
    own = step(settings.batch_size)
    largest = None
    if machine.memory_bytes is not None:
        room = machine.memory_bytes - CONTEXT_BYTES
        largest = largest_that_fits(
            lambda batch: peak(step(batch)), room, settings.batch_size, peak(own)
        )
    is_epochs = settings.unit == "epochs"
    updates = settings.length * (studies // per_update if is_epochs else 1)
    return Plan(
        machine=machine,
        batch=settings.batch_size,
        step=own,
        peak_bytes=peak(own),
        largest_batch=largest,
        studies_per_update=per_update,
        updates=updates,
        flops_per_study=_mean_flops(config, own, is_bf16=is_bf16) / settings.batch_size,
        epochs=float(settings.length) if is_epochs else updates * per_update / studies,
        studies=studies,
        bytes_per_study=2 * prod(config.volume.crop_shape),
        is_bf16=is_bf16,
    )


def _mean_flops(config: Config, dearest: Footprint, *, is_bf16: bool) -> float:
    """Return the work of a batch, averaged where only every n-th has a second pass."""
    every = config.alignment.pass_every
    if every == 1 or config.alignment.volume_pass == "masked":
        return float(dearest.flops)
    alignment = config.alignment.model_copy(update={"volume_pass": "masked"})
    without = config.model_copy(update={"alignment": alignment})
    other = footprint(without, config.optimizer.batch_size, longest(config), is_bf16=is_bf16)
    return (dearest.flops + (every - 1) * other.flops) / every


def largest_that_fits(peak: Callable[[int], int], room: int, batch: int, bytes_of: int) -> int:
    """Return the largest batch whose peak is within `room`, from as few peaks as possible.

    A peak grows with the batch, nearly in proportion, so the first guesses are on the line through
    the two that enclose the answer, further ones in their middle.

    Args:
        peak: bytes of a batch of one study or more.
        room: bytes that there are.
        batch: a first guess.
        bytes_of: its peak.
    """
    low, low_bytes = 1, peak(1)
    if low_bytes > room:
        return 0
    high, high_bytes = (batch, bytes_of) if batch > 1 else (2, peak(2))
    while high_bytes <= room:
        slope = max(1.0, (high_bytes - low_bytes) / (high - low))
        low, low_bytes = high, high_bytes
        high = min(4 * high, high + int((room - high_bytes) / slope) + 1)
        high_bytes = peak(high)
    guesses = 0
    while high - low > 1:
        middle = (low + high) // 2
        if guesses < _STRAIGHT_GUESSES:
            slope = (high_bytes - low_bytes) / (high - low)
            middle = min(high - 1, max(low + 1, low + int((room - low_bytes) / slope)))
        guesses += 1
        found = peak(middle)
        if found <= room:
            low, low_bytes = middle, found
        else:
            high, high_bytes = middle, found
    return low
