"""Studies that turn out unreadable while a run goes on: passed over, named, not too many."""

import os
import shutil

import pandas as pd
import pytest

from simcrop.data.replacement import TRIES, ReadableStudies
from simcrop.data.store import Store
from simcrop.errors import DataError, TrainingError
from simcrop.train.datamodule import PretrainingData
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder
from tiny_run import lasting_rows, study_dataset, text_states, tiny

FEW = (
    "optimizer.batch_size=6",
    "optimizer.length=4",
    "optimizer.warmup=1",
    "trainer.checkpoint_steps=2",
    "trainer.diagnostic_studies=0",
    "trainer.validation_epochs=2",
    "trainer.max_skipped=0.3",
    "terms.masked_report=false",
    "terms.alignment=false",
)
NUM_BAD = 3


@pytest.fixture(scope="module")
def damaged(phantom_store, tmp_path_factory) -> Store:
    """A store of a truncated, a deleted, a reportless study to train, a bad header to validate."""
    folder = tmp_path_factory.mktemp("damaged") / "store"
    shutil.copytree(phantom_store.folder, folder)
    store = Store(folder)
    *train, _ = (store.volumes.loc[v] for v in store.volume_ids("train")[: NUM_BAD + 1])
    val = store.volumes.loc[store.volume_ids("val")[0]]
    os.truncate(folder / train[0]["path"], 1000)
    with (folder / val["path"]).open("r+b") as file:
        file.seek(42)  # the number of voxels along x
        file.write(b"\xff\x7f")
    (folder / train[1]["path"]).unlink()
    reports = pd.read_csv(folder / "reports.csv", dtype=str, keep_default_na=False)
    reports[reports.study_id != train[2]["study_id"]].to_csv(folder / "reports.csv", index=False)
    return Store(folder)


@pytest.fixture(scope="module")
def bad(damaged) -> set[str]:
    return {damaged.study_of(volume) for volume in damaged.volume_ids("train")[:NUM_BAD]}


@pytest.fixture(scope="module")
def unbroken(damaged, tmp_path_factory) -> RunFolder:
    run = RunFolder(tmp_path_factory.mktemp("unbroken") / "run")
    pretrain(tiny(*FEW), damaged, run)
    return run


def test_the_run_goes_on_and_every_such_study_is_named(unbroken, damaged, bad):
    table = pd.read_csv(unbroken.skipped)
    assert list(table) == ["step", "split", "study_id", "reason"]
    train, val = (table[table.split == split] for split in ("train", "val"))
    assert set(train.study_id) <= bad
    assert len(set(train.study_id)) >= 2  # an epoch of two batches shows 12 of the 14 studies
    assert val.study_id.tolist() == [damaged.study_of(damaged.volume_ids("val")[0])]
    assert train.step.between(0, 3).all()
    words = {"missing or damaged", "no readable report"}
    assert all(any(word in reason for word in words) for reason in table.reason)


def test_a_resumed_run_with_other_reading_processes_is_the_same(unbroken, damaged, tmp_path):
    run = RunFolder(tmp_path / "run")

    def stop(done, total, what):
        if done == 3 and what.startswith("pre-train"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(tiny(*FEW), damaged, run, on_progress=stop)
    assert lasting_rows(run) != lasting_rows(unbroken)
    pretrain(tiny(*FEW, "trainer.workers=2"), damaged, run, resume=True)
    assert lasting_rows(run) == lasting_rows(unbroken)
    assert run.skipped.read_text() == unbroken.skipped.read_text()


def test_more_than_the_allowed_share_ends_the_run(damaged, tmp_path, caplog):
    run = RunFolder(tmp_path / "run")
    with pytest.raises(TrainingError, match=r"at most 0 \(trainer\.max_skipped\).*--resume"):
        pretrain(tiny(*FEW, "trainer.max_skipped=0"), damaged, run)
    assert len(pd.read_csv(run.skipped)) >= 1
    assert "another takes its place" in caplog.text


@pytest.fixture(scope="module")
def studies(damaged, text_encoder):
    config = tiny()
    return study_dataset(config, damaged, text_states(config, damaged, text_encoder))


def test_a_batch_keeps_its_size_and_shows_no_study_twice(studies, bad):
    readable = ReadableStudies(studies, replace=True)
    indices = [(0, position) for position in range(12)]
    batch = readable.__getitems__(indices)
    ids = [sample.study_id for sample in batch]
    assert len(set(ids)) == 12
    assert {study.study_id for study in batch[0].skipped} >= bad & set(studies.studies[:12])
    again = readable.__getitems__(indices)
    assert [sample.study_id for sample in again] == ids
    assert all(mine.voxels.equal(its.voxels) for mine, its in zip(batch, again, strict=True))


def test_validation_leaves_them_out(studies, damaged, bad):
    data = PretrainingData(studies, studies, tiny("optimizer.batch_size=8"))
    shown = [study for batch in data.val_dataloader() for study in batch.study_ids]
    assert len(shown) == len(set(shown))
    assert not bad & set(shown)


def test_a_store_that_is_gone_is_one_error_in_reading_processes_too(damaged, tmp_path):
    folder = tmp_path / "store"
    shutil.copytree(damaged.folder, folder)
    store = Store(folder)
    for row in store.volumes["path"]:
        (folder / row).unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"^\d+ studies in a row cannot be read") as caught:
        pretrain(tiny(*FEW, "trainer.workers=1"), store, RunFolder(tmp_path / "run"))
    assert "Traceback" not in str(caught.value)
    assert len(store.volumes) > TRIES
