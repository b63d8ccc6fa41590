"""The optimizer, its schedule, and how the loop runs."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from simcrop.config.section import BelowOne, Count, Fraction, Positive, Section


class OptimizerConfig(Section):
    """AdamW with linear warm-up and a half cosine to zero, per step."""

    lr: Positive = 1.5e-4
    """Peak learning rate, absolute. INFERRED (strong)."""
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.05
    """Not on biases and norms. INFERRED (strong)."""
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.95)
    """Decay of AdamW's two averages. INFERRED (strong)."""
    batch_size: Count = 14
    """Studies per step and process. UNKNOWN (successor: 4 devices x 14 x 8)."""
    micro_batch: Count | None = None
    """Studies that go through the networks at once; null: the whole batch. With fewer than
    `batch_size` memory is that of a micro-batch while all studies of the batch remain negatives
    of each other; every micro-batch goes through the networks twice (gradient caching)."""
    accumulate: Count = 8
    """Batches whose gradients are averaged into one update. Studies are compared within a batch
    only, so for more negatives raise `batch_size`, with a `micro_batch` (D-15). UNKNOWN
    (successor: 8)."""
    length: Count = 200
    """Length of the run, and of the cosine, in `unit`. UNKNOWN (successor: 200)."""
    warmup: Annotated[int, Field(ge=0)] = 20
    """Length of the linear rise at the start, in `unit`. UNKNOWN (lineage: 20 to 40)."""
    unit: Literal["epochs", "steps"] = "epochs"
    """Unit of `length` and `warmup`; a step is one update."""
    fused: bool = True
    """Update all parameters in one kernel; same values to rounding."""
    clip: Positive | None = None
    """Largest gradient norm; the authors clip nothing."""
    largest_loss: Positive | None = None
    """A total loss above it is bad, as one that is not finite always is; null sets no bound."""
    bad_loss: Literal["stop", "skip"] = "stop"
    """What follows a bad loss or a gradient that is not finite: the run stops, or the batch is
    passed over, by all processes alike. Its studies are written to bad_batches.csv either way."""


class TrainerConfig(Section):
    """How the loop runs."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """auto: a GPU where there is one."""
    devices: Count = 1
    """Processes that train together on one machine, one per GPU. They share a global batch of
    `batch_size` x `devices` x `num_nodes` studies and do what one process would with it."""
    num_nodes: Count = 1
    """Machines that train together, each with `devices` processes."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """ddp: every process holds all weights (auto with several processes). fsdp: weights, gradients
    and averages of the optimizer are spread over the processes, for networks that are too large."""
    precision: Annotated[Literal["auto", "32", "bf16"], BeforeValidator(str)] = "auto"
    """auto: bf16 on a GPU that has it, and on a CPU where a vision block, timed at the start, is
    clearly faster in it; the log says what was chosen."""
    checkpoint_activations: bool = False
    """Compute what is inside a vision block again in the backward pass instead of keeping it: same
    losses, less memory, more time."""
    compile: bool = False
    """torch.compile on the vision blocks; takes time at the start, and on a CPU a C++ compiler."""
    workers: Annotated[int, Field(ge=0)] = 4
    """Processes that read volumes."""
    keep_in_memory: bool = False
    """Keep the int16 volumes in memory after the first read."""
    max_skipped: Fraction = 0.05
    """Share of the training studies that may turn out unreadable before the run stops. Each is
    named in skipped_studies.csv, and another study takes its place."""
    checkpoint_steps: Count = 500
    """Updates between two resume points, and between two exports of the weights to checkpoint/."""
    keep_checkpoints: Count = 2
    """Resume points that are kept, the newest ones; with two, one that is damaged loses little."""
    best: Annotated[str, Field(pattern="^val/[a-z_]+$")] | None = "val/total_loss"
    """Validation figure by which the weights in best/ are chosen; null keeps none."""
    best_is: Literal["lowest", "highest"] = "lowest"
    """Which value of that figure is best."""
    validation_epochs: Count = 1
    """Epochs between two looks at the validation studies."""
    diagnostic_studies: Annotated[int, Field(ge=0)] = 8
    """Validation studies on which a run asks, at every validation, whether sentences and words use
    the volume; 0 leaves that out. All of them go through the networks at once."""
    log_steps: Count = 10
    """Updates between two logged values."""
    draw_seconds: Annotated[float, Field(ge=0.0)] = 60.0
    """curves.png is drawn after every epoch, but not more often than this; within a long epoch,
    after ten times as long."""
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = ()
    """Where values go beside metrics.csv: extras `tb` and `wandb`. W&B is offline unless
    WANDB_MODE is set."""

    @property
    def num_processes(self) -> int:
        """Processes of all machines."""
        return self.devices * self.num_nodes
