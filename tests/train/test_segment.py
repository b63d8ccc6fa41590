"""Segmentation from an encoder's checkpoint to labels on the CT's own voxels."""

import errno
import json
import os
import shutil

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
import torch

import labelled_store as made
from simcrop.config import override
from simcrop.data.preprocessing import prepare_volume
from simcrop.data.store import Store
from simcrop.data.volume import read_volume
from simcrop.errors import CheckpointError, ConfigError, DataError, TrainingError
from simcrop.evaluate.results import read_result
from simcrop.evaluate.segmentation import MEASURES
from simcrop.train.resume_points import ResumePoints
from simcrop.train.run_folder import RunFolder, writing
from simcrop.train.segment import Task, resumed_segmentation, train_segmentation
from simcrop.train.segment_evaluate import score_folder, score_store
from simcrop.train.segment_predict import predict_files, stem_of
from simcrop.train.segmentation_setup import SegmentationSetup
from simcrop.train.segmenter import load_segmenter
from simcrop.train.segmenting import Segmenting
from simcrop.train.signals import StopOnSignal, Stopped
from tiny_run import read_metrics


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return made.write_archive(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="module")
def store(archive) -> Store:
    return made.prepare_store(archive, archive / "store")


@pytest.fixture(scope="module")
def encoder(archive):
    return made.write_encoder(archive / "encoder")


@pytest.fixture(scope="module")
def run(archive, store, encoder) -> RunFolder:
    """A whole run; tests must not write into it."""
    run = RunFolder(archive / "run")
    train_segmentation(made.CONFIG, Task(str(encoder)), store, run)
    return run


@pytest.fixture(scope="module")
def segmenter(run):
    return load_segmenter(run.folder)


def test_lungs_are_found_on_patients_that_were_not_trained_on(segmenter, store):
    result = score_store(segmenter, store)
    figures = result.figures["pre-trained"]
    assert figures["dice"]["mean"]["value"] > 0.85
    assert figures["num_missed"] == {"left lung": 0, "right lung": 0}
    assert result.sets["test"].size == 2
    assert [items.measure for items in result.items] == list(MEASURES)
    assert result.note == ""
    assert {"dice", "best", "worst"} == set(result.drawings)


def test_the_best_validation_epoch_is_kept(run, segmenter):
    looks = read_metrics(run.metrics)["val/dice"]
    assert sorted(looks) == [12, 24, 36]
    best = max(looks, key=lambda step: looks[step])
    assert segmenter.training["step"] == best
    assert segmenter.training["val_dice"] == pytest.approx(looks[best])
    assert run.curves.exists()


def test_the_learning_rate_ends_with_the_run(run):
    rates = read_metrics(run.metrics)["train/lr"]
    assert max(rates.values()) == pytest.approx(made.CONFIG.optimizer.lr)
    assert rates[35] < 0.02 * made.CONFIG.optimizer.lr


def test_a_fraction_takes_patients_and_test_volumes_are_not_read(
    encoder, store, tmp_path, monkeypatch
):
    read = set()
    original = Store.read_hu
    monkeypatch.setattr(
        Store, "read_hu", lambda self, volume: (read.add(volume), original(self, volume))[1]
    )
    config = override(made.CONFIG, ["optimizer.length=2", "optimizer.warmup=1"])
    run = RunFolder(tmp_path / "run")
    train_segmentation(config, Task(str(encoder), fraction=0.5), store, run)
    told = run.described()["segmentation"]
    assert (told["fraction"], told["num_train"], told["num_val"]) == (0.5, 2, 2)
    assert len(read) == 4
    assert {"P4", "P5"} < read < {"P0", "P1", "P2", "P3", "P4", "P5"}


def test_a_resumed_run_equals_an_unbroken_one(encoder, store, run, tmp_path):
    broken = RunFolder(tmp_path / "run")

    def stop_after(done: int, total: int, what: str) -> None:
        if done == 14:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train_segmentation(made.CONFIG, Task(str(encoder)), store, broken, on_progress=stop_after)
    assert [path.name for path in broken.resume_points()] == ["step_00000010.ckpt"]
    task = Task.of(broken)
    train_segmentation(made.CONFIG, task, store, broken, resume=True)
    for mine, theirs in zip(
        load_segmenter(broken.folder).network.parameters(),
        load_segmenter(run.folder).network.parameters(),
        strict=True,
    ):
        assert torch.equal(mine, theirs)
    assert read_metrics(broken.metrics) == read_metrics(run.metrics)


@pytest.fixture
def damaged(store, tmp_path) -> Store:
    """A store whose first volume to train and first to validate are truncated."""
    shutil.copytree(store.folder, tmp_path / "store")
    for volume in ("P0", "P4"):
        os.truncate(tmp_path / "store" / store.volumes.at[volume, "path"], 500)
    return Store(tmp_path / "store")


BRIEF = ("optimizer.length=4", "optimizer.warmup=1", "trainer.validation_epochs=1")


@pytest.mark.parametrize("workers", [0, 1])
def test_unreadable_volumes_are_passed_over_and_named(encoder, damaged, tmp_path, caplog, workers):
    config = override(made.CONFIG, [*BRIEF, f"trainer.workers={workers}"])
    run = RunFolder(tmp_path / "run")
    train_segmentation(config, Task(str(encoder)), damaged, run)
    table = pd.read_csv(run.skipped)
    named = {damaged.study_of(volume): part for volume, part in (("P0", "train"), ("P4", "val"))}
    assert dict(zip(table.study_id, table.split, strict=True)) == named
    assert table.reason.str.contains("missing or damaged").all()
    assert caplog.text.count("cannot be read") == 2  # once each, however often they are met
    assert len(read_metrics(run.metrics)["val/dice"]) == 2


def test_too_many_unreadable_volumes_end_the_run_which_can_be_gone_on_with(
    encoder, store, damaged, tmp_path
):
    config = override(made.CONFIG, [*BRIEF, "trainer.max_skipped=0"])
    run = RunFolder(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"1 of 4.*max_skipped.*simcrop segment train --resume"):
        train_segmentation(config, Task(str(encoder)), damaged, run)
    shutil.copy(store.folder / store.volumes.at["P0", "path"], damaged.folder / "volumes")
    train_segmentation(config, Task.of(run), damaged, run, resume=True)
    assert max(read_metrics(run.metrics)["val/dice"]) == 4
    os.truncate(damaged.folder / store.volumes.at["P5", "path"], 500)
    run = RunFolder(tmp_path / "blind")
    config = override(made.CONFIG, list(BRIEF))
    with pytest.raises(DataError, match=r"none of 2 validation volumes.*--resume"):
        train_segmentation(config, Task(str(encoder)), damaged, run)


def test_a_gradient_that_is_not_finite_ends_the_run_before_any_update(
    encoder, store, tmp_path, monkeypatch
):
    def spoil(module: Segmenting) -> None:
        next(module.network.parameters()).grad.fill_(float("nan"))

    monkeypatch.setattr(Segmenting, "on_after_backward", spoil)
    config = override(made.CONFIG, list(BRIEF))
    with pytest.raises(TrainingError, match=r"gradient norm nan at update 0.*clip"):
        train_segmentation(config, Task(str(encoder)), store, RunFolder(tmp_path / "run"))


def test_messages_name_the_command_that_goes_on_with_a_segmentation(encoder, store, run, tmp_path):
    go_on = f"simcrop segment train --resume {run.folder}"
    with pytest.raises(ConfigError, match=f"already holds a run.*{go_on}"):
        train_segmentation(made.CONFIG, Task(str(encoder)), store, RunFolder(run.folder))
    with pytest.raises(DataError, match=f"cannot be opened.*{go_on} --store PLACE"):
        run.open_store(str(tmp_path / "nowhere"))
    with pytest.raises(TrainingError, match=f"No space left.*{go_on}"), writing(run.folder):
        raise OSError(errno.ENOSPC, "No space left on device")
    stop = StopOnSignal(ResumePoints(run, every=1, keep=1))
    stop._stopped_by = "SIGTERM"
    with pytest.raises(Stopped, match=f"after 3 updates.*{go_on}"):
        stop.raise_if_stopped(3)


def test_another_run_is_no_segmentation_and_says_how_to_go_on(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"another run.*simcrop pretrain --resume"):
        resumed_segmentation(tmp_path)


def test_pre_trained_and_untrained_differ_in_the_encoder_alone(encoder):
    setup = setup_of()
    trained, fresh = setup.network(encoder).state_dict(), setup.network().state_dict()
    differing = {name for name in trained if not torch.equal(trained[name], fresh[name])}
    weights = {name for name in trained if name.startswith(("blocks.", "patch_embedding."))}
    assert differing <= weights
    assert {"patch_embedding.projection.weight", "blocks.1.mlp.0.weight"} <= differing


def setup_of(*settings: str) -> SegmentationSetup:
    classes = made_classes()
    return SegmentationSetup.on(made.ENCODER, override(made.CONFIG, list(settings)), classes)


def made_classes():
    from simcrop.data.label_maps import Classes

    return Classes.of(made.NAMES)


def test_positions_keep_the_physical_step_of_the_pre_training():
    assert setup_of("volume.spacing_mm=[5, 10, 2.5]").position_step == (0.5, 1.0, 0.25)
    theirs = setup_of("volume.spacing_mm=[5, 10, 2.5]", "unetr.positions=cells")
    assert theirs.position_step == (1.0, 1.0, 1.0)


def test_a_crop_that_is_no_whole_number_of_patches_is_refused():
    with pytest.raises(ConfigError, match="crop_shape"):
        setup_of("volume.crop_shape=[20, 24, 16]")


def test_a_store_of_another_spacing_is_refused(encoder, store, tmp_path):
    config = override(made.CONFIG, ["volume.spacing_mm=[5, 5, 5]"])
    with pytest.raises(DataError, match="spacing_mm"):
        train_segmentation(config, Task(str(encoder)), store, RunFolder(tmp_path / "run"))


def test_a_store_without_label_maps_is_refused(encoder, archive, tmp_path):
    (tmp_path / "archive").mkdir()
    for name in ("volumes.csv", "reports.csv"):
        (tmp_path / "archive" / name).write_text((archive / name).read_text())
    from simcrop.data.contract import Contract
    from simcrop.data.prepare import prepare

    contract = Contract(**made.ENCODER.volume.model_dump())
    prepare(tmp_path / "archive", tmp_path / "store", contract, root=archive, any_region=True)
    unlabelled, run = Store(tmp_path / "store"), RunFolder(tmp_path / "run")
    with pytest.raises(DataError, match=r"anatomy_names\.csv"):
        train_segmentation(made.CONFIG, Task(str(encoder)), unlabelled, run)


def test_an_encoder_is_no_segmentation_checkpoint_and_says_so(encoder):
    with pytest.raises(CheckpointError, match="segment train"):
        load_segmenter(encoder)


def rotated(path, folder, orientation: str):
    """The same CT stored in another order of axes, and so on other voxels of the file."""
    image = sitk.DICOMOrient(sitk.ReadImage(str(path)), orientation)
    sitk.WriteImage(image, str(folder / "ct.nii.gz"))
    return folder / "ct.nii.gz"


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR"])
def test_labels_lie_on_the_voxels_of_the_file(segmenter, archive, tmp_path, orientation):
    ct = rotated(archive / "P6.nii.gz", tmp_path, orientation)
    (written,) = predict_files(segmenter, [ct], tmp_path / "out")
    assert written.labels_path.name == "ct.nii.gz"
    assert written.picture_path.exists()
    labels, image = (sitk.ReadImage(str(path)) for path in (written.labels_path, ct))
    assert labels.GetSize() == image.GetSize()
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(labels, name)(), getattr(image, name)(), atol=1e-4)
    true = sitk.DICOMOrient(sitk.ReadImage(str(archive / "P6_labels.nii.gz")), orientation)
    found, true = (sitk.GetArrayFromImage(one) for one in (labels, true))
    assert set(np.unique(found)) == set(made.NAMES)
    for value in (4, 9):
        overlap = ((found == value) & (true == value)).sum()
        assert 2 * overlap / ((found == value).sum() + (true == value).sum()) > 0.85
    assert written.volumes_ml["left lung"] == pytest.approx((found == 4).sum(), rel=1e-6)


def test_native_labels_are_those_of_the_prepared_volume_on_the_same_grid(segmenter, archive):
    volume = prepare_volume(archive / "P6.nii.gz", segmenter.contract)
    native = segmenter.native_labels(volume, volume.native_grid)
    values = segmenter.setup.classes.value_of(segmenter.classes(volume.hu))
    assert (native == values).mean() > 0.999
    assert volume.shape == read_volume(archive / "P6.nii.gz").shape


def test_a_ct_is_never_replaced_by_its_labels(segmenter, archive):
    with pytest.raises(DataError, match="is taken"):
        predict_files(segmenter, [archive / "P6.nii.gz"], archive)
    with pytest.raises(DataError, match="one name per volume"):
        predict_files(segmenter, [archive / "P6.nii.gz"] * 2, archive / "out")


def test_the_stem_is_the_name_without_the_ending(tmp_path):
    names = ("ct.nii.gz", "ct.nrrd", "ct.zip", "ct")
    assert {stem_of(tmp_path / name) for name in names} == {"ct"}


def test_label_maps_in_folders_are_scored_on_their_own_voxels(archive, tmp_path):
    for folder in ("found", "true"):
        (tmp_path / folder).mkdir()
    for name in ("P5", "P6"):
        labels = sitk.ReadImage(str(archive / f"{name}_labels.nii.gz"))
        sitk.WriteImage(labels, str(tmp_path / "true" / f"{name}.nii.gz"))
        sitk.WriteImage(labels, str(tmp_path / "found" / f"{name}.nrrd"))
    sitk.WriteImage(labels, str(tmp_path / "true" / "P7.nii.gz"))
    result = score_folder(tmp_path / "found", tmp_path / "true")
    dice = result.figures["found"]["dice"]
    assert dice["mean"]["value"] == 1.0
    assert list(dice["labels"]) == ["class 4", "class 9"]
    assert "1 references have no prediction" in result.note
    (tmp_path / "true" / "anatomy_names.csv").write_text(
        (archive / "anatomy_names.csv").read_text()
    )
    named = score_folder(tmp_path / "found", tmp_path / "true").figures["found"]
    assert named["num_cases"] == {"left lung": 2, "right lung": 2}


def test_label_maps_against_a_decathlon_list(archive, tmp_path):
    labels = sitk.ReadImage(str(archive / "P6_labels.nii.gz"))
    sitk.WriteImage(labels, str(tmp_path / "P6.nii.gz"))
    listed = {
        "labels": {str(value): name for value, name in made.NAMES.items()},
        "training": [{"image": "./P6.nii.gz", "label": "./P6_labels.nii.gz"}],
    }
    (archive / "dataset.json").write_text(json.dumps(listed))
    result = score_folder(tmp_path, archive / "dataset.json")
    assert next(iter(result.figures.values()))["dice"]["labels"]["left lung"]["value"] == 1.0


def test_label_maps_on_other_voxels_are_refused(archive, tmp_path):
    for folder in ("found", "true"):
        (tmp_path / folder).mkdir()
    labels = sitk.ReadImage(str(archive / "P6_labels.nii.gz"))
    sitk.WriteImage(labels, str(tmp_path / "true" / "P6.nii.gz"))
    labels.SetOrigin((5.0, 0.0, 0.0))
    sitk.WriteImage(labels, str(tmp_path / "found" / "P6.nii.gz"))
    with pytest.raises(DataError, match="those of"):
        score_folder(tmp_path / "found", tmp_path / "true")
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match="same names"):
        score_folder(tmp_path / "other", tmp_path / "true")


def test_a_result_can_be_read_back(segmenter, store, tmp_path):
    from simcrop.evaluate.results import write_result

    write_result(score_store(segmenter, store, "val"), tmp_path)
    back = read_result(tmp_path)
    assert back.items[0].names == ("left lung", "right lung")
    assert back.settings["training"]["train_set_hash"]
