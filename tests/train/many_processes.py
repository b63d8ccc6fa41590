"""Run the losses of a global batch in several processes, as data parallelism does."""

from copy import copy
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.distributed as dist
from forked import run_processes
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from simcrop.data.samples import Batch, collate
from simcrop.data.store import Store
from simcrop.model.text_encoder import TextEncoder
from simcrop.train.datamodule import BatchStream, PretrainingData
from simcrop.train.global_batch import GlobalBatch, gather_names
from simcrop.train.pretrain import Pretraining, step_generator
from simcrop.train.text_states import TextStates
from tiny_run import pretraining, study_dataset, text_states, tiny

SMALL = ("vision_encoder.depth=1", "trainer.diagnostic_studies=0")
PER_IMAGE = ("alignment.negatives=per_image", "alignment.candidates=body")
FORMS = {
    "within_report": (),
    "within_report_by_sentence": (
        "alignment.reduction=sentence",
        "alignment.sentence_weights=inverse_frequency",
        "masking.word_variants=0",
        "volume.crop_shape=[72, 60, 42]",
    ),
    "batch": ("alignment.negatives=batch", "alignment.duplicates=positives"),
    "per_image": (
        *PER_IMAGE,
        "alignment.duplicates=positives",
        "alignment.volume_pass=unmasked",
        "alignment.pass_ratio=0.25",
    ),
    "standardised": (
        *PER_IMAGE,
        "alignment.standardise=true",
        "alignment.whole_share=0.5",
        "alignment.volume_pass=unmasked",
        "fusion.looks_at=embeddings",
    ),
    "instance": ("terms.alignment=false", "terms.instance_contrast=true"),
    "everything": (*PER_IMAGE, "terms.instance_contrast=true"),
    "dropout": ("fusion.dropout=0.3",),
}
FORMS = {name: (*SMALL, *form) for name, form in FORMS.items()}

Found = dict[str, torch.Tensor | tuple[str, ...]]


class Step(nn.Module):
    """The forward pass of a training step, which is what is wrapped."""

    def __init__(self, module: Pretraining) -> None:
        super().__init__()
        self.module = module

    def forward(self, batch: Batch, share: GlobalBatch):
        losses = self.module.losses(batch, step_generator(0, 0), share)
        return self.module.total(losses), losses


def world(store: Store, settings: tuple[str, ...]):
    """Return the networks and the training studies of a configuration."""
    config = tiny(*settings)
    in_parts = [
        s for s in settings if s.startswith(("optimizer.", "alignment.", "fusion.", "terms.inst"))
    ]
    texts = texts_of(store, tuple(s for s in settings if s not in in_parts or "weights" in s))
    dataset = study_dataset(config, store, texts)
    return pretraining(config, encoder(), texts, dataset.studies).double(), dataset


def exact(batch: Batch) -> Batch:
    """The batch in 64 bits, where rounding hides no mistake."""
    values = {n: v for n, v in vars(batch).items() if isinstance(v, torch.Tensor)}
    return replace(batch, **{n: v.double() for n, v in values.items() if v.is_floating_point()})


@cache
def encoder() -> TextEncoder:
    """The packaged text encoder, read once."""
    return TextEncoder("packaged").double()


@cache
def texts_of(store: Store, settings: tuple[str, ...]) -> TextStates:
    """The texts of configurations that differ in nothing that texts depend on."""
    return text_states(tiny(*settings), store, encoder())


def one_step(store: Store, settings: tuple[str, ...], size: int, rank=0, ranks=1) -> Found:
    """Return losses, gradients and study ids of one global batch, as every process has them."""
    module, dataset = world(store, settings)
    step = Step(module)
    wrapped = DistributedDataParallel(step) if ranks > 1 else step
    stream = BatchStream(len(dataset), size // ranks, seed=7, start=1, rank=rank, num_ranks=ranks)
    batch = exact(collate([dataset[index] for index in next(iter(stream))]))
    share = GlobalBatch.shared(len(batch), batch.sentence_keys.shape[1], torch.device("cpu"))
    total, losses = wrapped(batch, share)
    total.backward()
    gradients = {n: p.grad for n, p in module.simcrop.named_parameters()}
    assert all(gradient is not None for gradient in gradients.values())
    found = {name: share.mean(value) for name, value in losses.items()}
    if module.moments is not None:
        module.simcrop.see(*module.moments)
        gradients |= dict(module.simcrop.named_buffers())
    return {"study_ids": gather_names(batch.study_ids), **found, **gradients}


def validation(store: Store, rank=0, ranks=1) -> Found:
    """Return the losses of three validation studies, of which the first of four has none."""
    sizes = ("optimizer.micro_batch=1", "optimizer.batch_size=4", f"trainer.devices={ranks}")
    settings = (*FORMS["everything"], *sizes)
    module, dataset = world(store, settings)
    few = copy(dataset)
    few.studies = dataset.studies[:3]
    data = PretrainingData(dataset, few, tiny(*settings))
    data.trainer = SimpleNamespace(global_rank=rank)
    (batch,) = data.val_dataloader()
    share = GlobalBatch.shared(len(batch), batch.sentence_keys.shape[1], torch.device("cpu"))
    module.eval()
    with torch.no_grad():
        losses = module.losses(exact(batch), step_generator(0, 0), share)
    found = {name: share.mean(value) for name, value in losses.items()}
    return {"study_ids": gather_names(batch.study_ids), **found}


def work(rank: int, ranks: int, folder: Path, store: Path, forms: dict[str, tuple], size: int):
    """One process of a launch: every form in turn; the first process writes what it found."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meet-{ranks}", rank=rank, world_size=ranks
    )
    prepared = Store(store)
    found = {name: one_step(prepared, form, size, rank, ranks) for name, form in forms.items()}
    found["validation"] = validation(prepared, rank, ranks)
    if rank == 0:
        torch.save(found, folder / f"{ranks}.pt")
    dist.destroy_process_group()


def launch(folder: Path, store: Path, forms: dict[int, dict[str, tuple]], size: int):
    """Return what launches of these numbers of processes found for their forms, by number."""
    calls = [
        (rank, ranks, folder, store, of_launch, size)
        for ranks, of_launch in forms.items()
        for rank in range(ranks)
    ]
    assert set(run_processes(work, calls)) == {0}
    return {ranks: torch.load(folder / f"{ranks}.pt", weights_only=True) for ranks in forms}
