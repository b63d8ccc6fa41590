"""A pre-training run: store and configuration in, checkpoint and curves out, resumable."""

from collections.abc import Mapping
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities import rank_zero_only

from simcrop.config import Config
from simcrop.data.samples import Augmentation, StudyDataset
from simcrop.data.store import Store
from simcrop.errors import ConfigError, DataError, complain
from simcrop.model.text_encoder import TextEncoder
from simcrop.report.tokens import load_tokenizer
from simcrop.train.checkpoint import initialise_encoder, save_checkpoint
from simcrop.train.datamodule import PretrainingData
from simcrop.train.diagnostics import DiagnosticsCallback
from simcrop.train.drawing import DrawCurves
from simcrop.train.exports import Export, Exports
from simcrop.train.features import check_contracts
from simcrop.train.lock import only_here
from simcrop.train.loggers import check_loggers, extra_loggers
from simcrop.train.machine import Machine, give_back_large_blocks, machine_for, quiet_lightning
from simcrop.train.metrics_file import MetricsFile
from simcrop.train.moments import made_update
from simcrop.train.networks import build_simcrop, set_up_blocks
from simcrop.train.precision import with_precision
from simcrop.train.pretrain import Pretraining
from simcrop.train.recording import Recorder, WaitingTime
from simcrop.train.resume_points import ResumePoint, ResumePoints, WholeFile, newest_resume_point
from simcrop.train.run_folder import RunFolder
from simcrop.train.signals import StopOnSignal
from simcrop.train.skipped import SkippedStudies
from simcrop.train.strategy import is_first_process, strategy_for, whole_state
from simcrop.train.text_states import Progress, TextStates


def pretrain(
    config: Config,
    store: Store,
    run: RunFolder,
    *,
    resume: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> Pretraining:
    """Pre-train on the training studies of a store and leave a checkpoint in the run folder.

    Args:
        config: what to run.
        store: prepared with the contract of `config`.
        run: where to write; must not hold a run unless it is resumed.
        resume: go on from the run's newest resume point, or from its beginning before the first.
        on_progress: called with (updates done, updates in all, what).

    Raises:
        ConfigError: if the folder is taken, or there is no such device or text encoder.
        DataError: if the store does not fit the configuration or has no training study.
        CheckpointError: if no resume point of the run can be read.
        TrainingError: if the run cannot go on: a bad loss, no room to write.
    """
    if config.vision_encoder.position == "stored":
        raise ConfigError(
            complain(
                "vision_encoder.position = stored, which comes with converted weights",
                "sine_cosine_3d or two_axis",
                "Name the weights by vision_encoder.init and a table by position.",
            )
        )
    check_contracts(store, config.contract())
    check_loggers(config)
    config = with_precision(config)
    machine = machine_for(config.trainer.device, config.trainer.precision)
    text_encoder = TextEncoder(config.text.encoder)
    if not resume:
        rank_zero_only(run.start)(config, config.contract(), store)
    with only_here(run.folder) if is_first_process() else nullcontext():
        point = newest_resume_point(run) if resume else ResumePoint()
        if resume:
            rank_zero_only(run.go_back)(point.sizes)
        texts = _text_states(config, store, text_encoder, machine, on_progress)
        data = _data(config, store, texts, point.step)
        module = _module(config, text_encoder, texts, data, initial=point.path is None)
        give_back_large_blocks(module.simcrop)
        module.on_bad_batch = rank_zero_only(run.note_bad_batch)
        rank_zero_only(run.note_length)(_num_updates(config, data))
        _fit(module, data, run, machine, point, on_progress)
    return module


def _fit(
    module: Pretraining,
    data: PretrainingData,
    run: RunFolder,
    machine: Machine,
    point: ResumePoint,
    on_progress: Progress,
) -> None:
    """Train from a resume point on, with everything that watches and writes."""
    config = module.config
    metrics = MetricsFile(run.metrics)
    points = ResumePoints(run, config.trainer.checkpoint_steps, config.trainer.keep_checkpoints)
    stop = StopOnSignal(points)
    draw = DrawCurves(run, data.updates_per_epoch, config.trainer.draw_seconds)
    waiting = WaitingTime()
    recorder = Recorder(min(config.trainer.log_steps, _num_updates(config, data)), waiting)
    callbacks: list[Callback] = [
        recorder,
        DiagnosticsCallback(data.val, config.trainer.diagnostic_studies),
        SkippedStudies(run, len(data.train), config.trainer.max_skipped),
        Exports(run, config.trainer, metrics, _exporter(module)),
        _ProgressCallback(recorder, on_progress),
        draw,
        stop,
        points,
    ]
    with quiet_lightning():
        loggers = [metrics, *extra_loggers(config, run, point.step)]
        trainer = _trainer(config, machine, data, loggers, callbacks, waiting)
        trainer.fit(module, data, ckpt_path=point.path, weights_only=True if point.path else None)
    if trainer.is_global_zero:
        draw.draw()
    stop.raise_if_stopped(trainer.global_step)


def _exporter(module: Pretraining) -> Export:
    """Return what writes the weights of all processes into a checkpoint folder."""
    fingerprint = module.text_encoder.fingerprint()

    def export(folder: Path, step: int, about: Mapping[str, Any]) -> None:
        weights = whole_state(module.simcrop)
        if is_first_process():
            save_checkpoint(
                folder,
                weights,
                module.config,
                vocabulary=module.vocabulary,
                text_dim=module.text_encoder.dim,
                text_fingerprint=fingerprint,
                step=step,
                about=about,
            )

    return export


def _text_states(
    config: Config,
    store: Store,
    text_encoder: TextEncoder,
    machine: Machine,
    on_progress: Progress,
) -> TextStates:
    used = {
        store.study_of(volume) for split in ("train", "val") for volume in store.volume_ids(split)
    }
    reports = {}
    for study in sorted(used):
        with suppress(DataError, KeyError):  # met again, and named, when the study is to be read
            reports[study] = store.report(study)
    return TextStates(
        reports,
        config,
        load_tokenizer(config.text.encoder),
        text_encoder,
        store.folder / "text",
        on_progress,
        "cuda" if machine[0] == "gpu" else "cpu",
    )


def _data(config: Config, store: Store, texts: TextStates, first_step: int) -> PretrainingData:
    studies = {
        split: sorted({store.study_of(volume) for volume in store.volume_ids(split)})
        for split in ("train", "val")
    }
    if not studies["train"]:
        raise DataError(
            complain(
                f"{store.folder} has no training study", "at least one", "See its refused.csv."
            )
        )
    weights = texts.sentence_weights(studies["train"])
    augmentation = Augmentation(**config.augmentation.model_dump(exclude={"swap_sides"}))
    train, val = (
        StudyDataset(
            store,
            studies[split],
            config.contract(),
            partial(texts.sample, weights=weights),
            seed=config.seed,
            augmentation=augmentation if split == "train" else None,
            keep_in_memory=config.trainer.keep_in_memory,
            mirrored_text=partial(texts.mirrored_sample, weights=weights)
            if config.augmentation.swap_sides
            else None,
        )
        for split in ("train", "val")
    )
    return PretrainingData(train, val, config, first_step * config.optimizer.accumulate)


def _module(
    config: Config,
    text_encoder: TextEncoder,
    texts: TextStates,
    data: PretrainingData,
    *,
    initial: bool,
) -> Pretraining:
    vocabulary = texts.vocabulary(data.train.studies)
    torch.manual_seed(config.seed)
    simcrop = build_simcrop(config, text_dim=text_encoder.dim, vocabulary_size=len(vocabulary))
    if initial and config.vision_encoder.init is not None:
        initialise_encoder(simcrop.vision_encoder, Path(config.vision_encoder.init))
    set_up_blocks(simcrop, config.trainer)
    unknown = texts.tokenizer.unk_token_id
    return Pretraining(config, simcrop, text_encoder, vocabulary, unknown, data.updates_per_epoch)


def _trainer(
    config: Config,
    machine: Machine,
    data: PretrainingData,
    loggers: list[Logger],
    callbacks: list[Callback],
    waiting: WaitingTime,
) -> Trainer:
    settings, loop = config.optimizer, config.trainer
    device, precision = machine
    num_updates = _num_updates(config, data)
    has_val = len(data.val) > 0
    return Trainer(
        accelerator=device,
        devices=loop.devices,
        num_nodes=loop.num_nodes,
        strategy=strategy_for(loop),
        precision=precision,
        max_steps=num_updates,
        max_epochs=-1,
        accumulate_grad_batches=settings.accumulate,
        gradient_clip_val=settings.clip,
        logger=loggers,
        profiler=waiting,
        plugins=[WholeFile()],
        val_check_interval=loop.validation_epochs * data.batches_per_epoch if has_val else None,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )


def _num_updates(config: Config, data: PretrainingData) -> int:
    settings = config.optimizer
    return settings.length * (data.updates_per_epoch if settings.unit == "epochs" else 1)


class _ProgressCallback(Callback):
    """Report progress in updates, with the loss and the speed."""

    def __init__(self, recorder: Recorder, on_progress: Progress) -> None:
        self.recorder = recorder
        self.on_progress = on_progress

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        """Run after every batch; only a batch that made an update counts."""
        if not made_update(trainer) or not trainer.is_global_zero:
            return
        assert isinstance(pl_module, Pretraining)
        what = "pre-train"
        if pl_module.logged:
            what += f", loss {float(pl_module.logged['train/total_loss']):.3f}"
        if speed := self.recorder.speed:
            what += f", {speed['time/studies_per_second']:.3g} studies/s"
            what += f", {speed['time/waiting_share']:.0%} waiting for data"
        self.on_progress(trainer.global_step, trainer.max_steps, what)
