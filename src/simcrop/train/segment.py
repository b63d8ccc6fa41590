"""A segmentation run: pre-trained encoder and label maps in, a segmentation network out.

The epoch that is kept is the one of the best mean Dice, background excluded, of whole validation
volumes; no test volume is read. Without validation patients the last epoch is kept.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from lightning.pytorch import Callback, Trainer

from simcrop.config import SegmentationConfig, read_config
from simcrop.data.label_maps import Classes
from simcrop.data.replacement import ReadableStudies
from simcrop.data.segmentation_crops import CropDataset, SegmentationAugmentation, join_crops
from simcrop.data.splits import hash_of, take_fraction
from simcrop.data.store import Store
from simcrop.errors import ConfigError, DataError, complain
from simcrop.train.checkpoint import read_checkpoint_config
from simcrop.train.datamodule import BatchStream
from simcrop.train.features import Progress, check_contracts
from simcrop.train.loader import Loader
from simcrop.train.lock import only_here
from simcrop.train.machine import Machine, machine_for, quiet_lightning
from simcrop.train.metrics_file import MetricsFile
from simcrop.train.resume_points import ResumePoint, ResumePoints, WholeFile, newest_resume_point
from simcrop.train.run_folder import RunFolder
from simcrop.train.segmentation_looks import ValidationLooks
from simcrop.train.segmentation_setup import SegmentationSetup
from simcrop.train.segmenter import Segmenter, load_segmenter
from simcrop.train.segmenting import Segmenting
from simcrop.train.signals import StopOnSignal
from simcrop.train.skipped import SkippedStudies

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What a run was asked to do; with the configuration it is all that a resumed run needs.

    Attributes:
        checkpoint: whose encoder is trained on.
        fraction: share of the training patients.
        untrained: whether the encoder starts from fresh weights: the control.
        split: `clean` or `paper_split`.
    """

    checkpoint: str
    fraction: float = 1.0
    untrained: bool = False
    split: str = "clean"

    @classmethod
    def of(cls, run: RunFolder) -> "Task":
        """Return the task of a run from its run.json.

        Raises:
            ConfigError: if the folder holds no segmentation run.
        """
        asked = run.described().get("segmentation")
        if asked is None:
            raise ConfigError(
                complain(
                    f"{run.folder} holds another run than a segmentation",
                    "a folder that `simcrop segment train` wrote",
                    f"Go on with it by its own command: {run.resume_command}",
                )
            )
        return cls(**{field.name: asked[field.name] for field in fields(cls)})


def resumed_segmentation(folder: Path) -> tuple[RunFolder, Task, SegmentationConfig]:
    """Return the run of a folder, what it was asked to do and its settings."""
    run = RunFolder(folder)
    return run, Task.of(run), read_config(run.config, SegmentationConfig)


def train_segmentation(
    config: SegmentationConfig,
    task: Task,
    store: Store,
    run: RunFolder,
    *,
    resume: bool = False,
    on_progress: Progress = lambda done, total, what: None,
) -> Segmenter:
    """Train on the labelled training volumes of a store; return the network that was kept.

    Args:
        config: what to run.
        task: on which encoder and patients.
        store: prepared at the spacing of the run, with label maps.
        run: where to write; must not hold a run unless it is resumed.
        resume: go on from the run's last resume point.
        on_progress: called with (updates done, updates in all, what).

    Raises:
        CheckpointError: if the checkpoint does not fit, or there is nothing to resume.
        ConfigError: if the folder is taken, or a setting does not fit the encoder.
        DataError: if the store has no label maps or no training volume, or was made otherwise.
    """
    classes = Classes.of(store.anatomy_names)
    pretrained = read_checkpoint_config(Path(task.checkpoint))
    setup = SegmentationSetup.on(pretrained, config, classes)
    check_contracts(store, setup.contract)
    train, val = labelled(store, "train"), labelled(store, "val")
    train = _of_patients(store, train, task.fraction, config.seed)
    machine = machine_for(config.trainer.device, config.trainer.precision)
    point = newest_resume_point(run) if resume else ResumePoint()
    training = {
        **asdict(task),
        "seed": config.seed,
        "num_train": len(train),
        "train_set_hash": hash_of(train),
        "num_val": len(val),
        "val_set_hash": hash_of(val),
        "selected_on_test": store.selected_on_test,
    }
    if not resume:
        run.start(config, setup.contract, store, segmentation=training)
    network = setup.network(None if task.untrained else Path(task.checkpoint))
    segmenter = Segmenter(network, setup, training)
    data = _dataset(store, train, segmenter)
    stream = BatchStream(
        len(train), config.optimizer.volumes_per_step, config.seed, start=point.step
    )
    module = Segmenting(segmenter, stream.batches_per_epoch)
    points = ResumePoints(run, config.trainer.checkpoint_steps, keep=2)
    stop = StopOnSignal(points)
    with only_here(run.folder), quiet_lightning():
        if resume:
            run.go_back(point.sizes)
        run.note_length(module.num_updates)
        metrics = MetricsFile(run.metrics)
        skipped = SkippedStudies(run, len(train), config.trainer.max_skipped)
        looks = ValidationLooks(
            segmenter, data, val, skipped, stream.batches_per_epoch, run.checkpoint, on_progress
        )
        callbacks: list[Callback] = [skipped, looks, stop, points]
        trainer = _trainer(config, machine, module.num_updates, metrics, callbacks)
        trainer.fit(
            module,
            _loader(data, stream, config.trainer.workers),
            ckpt_path=point.path,
            weights_only=resume or None,
        )
    run.draw_curves()
    stop.raise_if_stopped(trainer.global_step)
    return load_segmenter(run.folder)


def labelled(store: Store, part: str) -> list[str]:
    """Return the volumes of a part that have a label map.

    Raises:
        DataError: if the store has no label maps.
    """
    if store.anatomy is None or not store.anatomy_names:
        raise DataError(
            complain(
                f"{store.location}: no label maps with names",
                "anatomy.csv and anatomy_names.csv in the archive",
                "See docs/how-to/segment.md, prepare again.",
            )
        )
    return [volume for volume in store.volume_ids(part) if volume in store.anatomy.index]


def _of_patients(store: Store, volumes: Sequence[str], fraction: float, seed: int) -> list[str]:
    """Return the volumes of a fraction of their patients.

    Raises:
        DataError: if there is none.
    """
    if not volumes:
        raise DataError(
            complain(
                f"{store.location} has no training volume with a label map",
                "at least one",
                "See its refused.csv and splits.csv.",
            )
        )
    patient_of = store.volumes.patient_id
    chosen = set(take_fraction((str(patient_of[v]) for v in volumes), fraction, seed))
    return [volume for volume in volumes if patient_of[volume] in chosen]


def _dataset(store: Store, volumes: list[str], segmenter: Segmenter) -> CropDataset:
    config = segmenter.setup.config
    if config.augmentation.flip_probability[0] and segmenter.setup.classes.mirrored is None:
        log.warning("no left-right flips: a class has a side and there is none of the other side")
    return CropDataset(
        store,
        volumes,
        segmenter.contract,
        segmenter.setup.classes,
        seed=config.seed,
        crops_per_volume=config.optimizer.crops_per_volume,
        augmentation=SegmentationAugmentation(**config.augmentation.model_dump()),
        keep_in_memory=config.trainer.keep_in_memory,
    )


def _loader(data: CropDataset, stream: BatchStream, workers: int) -> Loader:
    readable = ReadableStudies(data, replace=True)
    return Loader(readable, batch_sampler=stream, num_workers=workers, collate_fn=join_crops)


def _trainer(
    config: SegmentationConfig,
    machine: Machine,
    num_updates: int,
    metrics: MetricsFile,
    callbacks: list[Callback],
) -> Trainer:
    device, precision = machine
    return Trainer(
        accelerator=device,
        devices=1,
        precision=precision,
        max_steps=num_updates,
        max_epochs=-1,
        gradient_clip_val=config.optimizer.clip,
        logger=metrics,
        plugins=[WholeFile()],
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=callbacks,
    )
