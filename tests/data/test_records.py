import pytest
import SimpleITK as sitk  # noqa: N813
from synthetic_ct import write_archive, write_table

from simcrop.data import jobs
from simcrop.data.contract import Contract
from simcrop.data.prepare import prepare
from simcrop.data.store import Store

CONTRACT = Contract(spacing_mm=(4.0, 4.0, 6.0), crop_shape=(16, 16, 16), patch_shape=(4, 4, 4))


@pytest.fixture
def archive(tmp_path, ct_image):
    """Two volumes, one of them cut short."""
    folder = write_archive(tmp_path / "archive", ct_image)
    (folder / "cut.nii.gz").write_bytes((folder / "v1.nii.gz").read_bytes()[:900])
    rows = [("v1", "s1", "v1.nii.gz"), ("cut", "s2", "cut.nii.gz")]
    write_table(folder / "volumes.csv", "volume_id study_id path", rows)
    for name in ("masks", "anatomy", "anatomy_names"):
        (folder / f"{name}.csv").unlink()
    return folder


def test_a_refused_volume_is_not_read_twice(archive, tmp_path, monkeypatch):
    first = prepare(archive, tmp_path / "store", CONTRACT)
    refused = (tmp_path / "store/refused.csv").read_bytes()
    monkeypatch.setattr(jobs, "prepare_volume", lambda *_: pytest.fail("read again"))
    again = prepare(archive, tmp_path / "store", CONTRACT)
    assert (first.num_prepared, first.num_refused) == (1, 1)
    assert (again.num_prepared, again.num_skipped, again.num_refused) == (0, 1, 1)
    assert (tmp_path / "store/refused.csv").read_bytes() == refused


def test_a_last_run_after_shards_reads_nothing(archive, tmp_path, monkeypatch):
    for part in (1, 2):
        prepare(archive, tmp_path / "store", CONTRACT, shard=(part, 2))
    monkeypatch.setattr(jobs, "prepare_volume", lambda *_: pytest.fail("read again"))
    prepare(archive, tmp_path / "store", CONTRACT)
    assert Store(tmp_path / "store").volume_ids() == ["v1"]
    assert "truncated" in (tmp_path / "store/refused.csv").read_text()


def test_a_repaired_volume_is_tried_again(archive, tmp_path):
    prepare(archive, tmp_path / "store", CONTRACT)
    (archive / "cut.nii.gz").write_bytes((archive / "v1.nii.gz").read_bytes())
    assert prepare(archive, tmp_path / "store", CONTRACT).num_refused == 0


def test_another_version_looks_again(archive, tmp_path, monkeypatch, ct_image):
    prepare(archive, tmp_path / "store", CONTRACT)
    read = []
    original = jobs.prepare_volume
    monkeypatch.setattr(jobs, "prepare_volume", lambda *a: read.append(a[0].name) or original(*a))
    monkeypatch.setattr("simcrop.data.records.__version__", "another")
    prepare(archive, tmp_path / "store", CONTRACT)
    assert read == ["cut.nii.gz"]


def test_a_missing_file_is_looked_for_every_time(archive, tmp_path, ct_image):
    (archive / "cut.nii.gz").unlink()
    assert prepare(archive, tmp_path / "store", CONTRACT).num_refused == 1
    assert not (tmp_path / "store/records/cut.json").exists()
    sitk.WriteImage(ct_image, str(archive / "cut.nii.gz"))
    assert prepare(archive, tmp_path / "store", CONTRACT).num_refused == 0
