"""Prepare on many processes, in shards, on a cluster; killed, out of room, without permission."""

import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from synthetic_ct import write_table
from typer.testing import CliRunner

from simcrop.cli.main import app
from simcrop.data import jobs as jobs_module
from simcrop.data.contract import Contract
from simcrop.data.executors import open_executor
from simcrop.data.prepare import PrepareSummary, prepare
from simcrop.errors import ConfigError, DataError

CONTRACT = Contract(spacing_mm=(4.0, 4.0, 4.0), crop_shape=(16, 16, 16), patch_shape=(4, 4, 4))
NUM_VOLUMES = 8
NUM_KILLS = 20

RUN = """
import sys
sys.path.insert(0, sys.argv[3])
from test_prepare_anywhere import CONTRACT
from simcrop.data.prepare import prepare
if __name__ == "__main__":
    print("ready", flush=True)
    print(prepare(sys.argv[1], sys.argv[2], CONTRACT, workers=int(sys.argv[4])))
"""


def write_many(folder: Path, image: sitk.Image, number: int = NUM_VOLUMES) -> Path:
    """An archive of noisy volumes, every second with a mask."""
    folder.mkdir()
    rng, volumes, reports, masks = np.random.default_rng(0), [], [], []
    for i in range(number):
        noise = rng.integers(-40, 40, image.GetSize()[::-1], dtype=np.int16)
        noisy = sitk.GetImageFromArray(sitk.GetArrayFromImage(image) + noise)
        noisy.CopyInformation(image)
        sitk.WriteImage(noisy, str(folder / f"{i}.nii.gz"))
        volumes.append((f"v{i}", f"s{i}", f"{i}.nii.gz"))
        reports.append((f"s{i}", f"p{i // 2}", "A ball is seen.", ""))
        if i % 2:
            masks.append((f"s{i}", "A ball is seen.", "ball.nii.gz", 1, "Nodule"))
    sitk.WriteImage(image > 0, str(folder / "ball.nii.gz"))
    write_table(folder / "volumes.csv", "volume_id study_id path", volumes)
    write_table(folder / "reports.csv", "study_id patient_id findings impression", reports)
    write_table(folder / "masks.csv", "study_id sentence path value label", masks)
    return folder


@pytest.fixture
def many(tmp_path, ct_image) -> Path:
    return write_many(tmp_path / "archive", ct_image)


def content(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes()
            for path in sorted(store.rglob("*")) if path.is_file()}  # fmt: skip


def start(archive: Path, store: Path, workers: int) -> subprocess.Popen:
    arguments = [str(archive), str(store), str(Path(__file__).parent), str(workers)]
    return subprocess.Popen([sys.executable, "-c", RUN, *arguments], start_new_session=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_with_the_same_bytes(many, tmp_path):
    """A run is killed and started again until its store is done; then a new store begins."""
    prepare(many, tmp_path / "undisturbed", CONTRACT)
    expected, rng = content(tmp_path / "undisturbed"), random.Random(0)
    kills, in_work, rounds = 0, 0, 0
    store, kept = tmp_path / "killed_0", {}
    while kills < NUM_KILLS:
        workers = 1 + kills % 4 // 3  # starting a pool takes a second, so every fourth run has one
        process = start(many, store, workers)
        assert process.stdout.readline() == b"ready\n"
        time.sleep(rng.uniform(0.0, 0.3) if workers == 1 else rng.uniform(0.8, 2.0))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
        now = times_of_finished(store)
        assert now | kept == now, "a finished volume was written again"
        in_work += kept != now
        kept = now
        if len(now) == NUM_VOLUMES:
            prepare(many, store, CONTRACT)
            assert content(store) == expected
            rounds += 1
            store, kept = tmp_path / f"killed_{rounds}", {}
    prepare(many, store, CONTRACT)
    assert content(store) == expected
    assert in_work >= NUM_KILLS // 4  # kills that fell between the first volume and the last


def times_of_finished(store: Path) -> dict[str, int]:
    """When the volume of each record was written."""
    names = [path.stem for path in (store / "records").glob("v*.json")]
    return {name: (store / f"volumes/{name}.nii").stat().st_mtime_ns for name in names}


def test_shards_and_a_last_run_give_the_bytes_of_one_run(many, tmp_path):
    prepare(many, tmp_path / "one", CONTRACT)
    store = tmp_path / "shards"
    with ThreadPoolExecutor(3) as threads:
        parts = [threads.submit(prepare, many, store, CONTRACT, shard=(i, 3)) for i in (1, 2, 3)]
        prepared = [part.result().num_prepared for part in parts]
    assert prepared == [3, 3, 2]
    assert not (store / "manifest.csv").exists()
    assert prepare(many, store, CONTRACT) == PrepareSummary(0, NUM_VOLUMES, 0, 0)
    assert content(store) == content(tmp_path / "one")


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0)])
def test_there_is_no_such_shard(many, tmp_path, shard):
    with pytest.raises(ValueError, match="shard"):
        prepare(many, tmp_path / "store", CONTRACT, shard=shard)


@pytest.mark.parametrize("shard", ["2", "3/2", "0/2", "a/b"])
def test_a_mistyped_shard_is_wrong_usage(many, tmp_path, shard):
    store = str(tmp_path / "store")
    result = CliRunner().invoke(app, ["prepare", "-i", str(many), "-o", store, "--shard", shard])
    assert result.exit_code == 2
    assert not (tmp_path / "store").exists()


def test_any_executor_does_the_jobs(many, tmp_path):
    prepare(many, tmp_path / "one", CONTRACT)
    with ThreadPoolExecutor(2) as executor:
        prepare(many, tmp_path / "store", CONTRACT, executor=executor)
        assert executor.submit(int, "1").result() == 1  # still open: it is the caller's
    assert content(tmp_path / "store") == content(tmp_path / "one")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_does_the_jobs(many, tmp_path):
    distributed = pytest.importorskip("distributed")
    prepare(many, tmp_path / "one", CONTRACT)
    with distributed.LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        dashboard_address=None,
        protocol="tcp://",
    ) as cluster:
        address = cluster.scheduler_address.replace("tcp://", "dask://")
        prepare(many, tmp_path / "store", CONTRACT, executor=address)
    assert content(tmp_path / "store") == content(tmp_path / "one")


def test_an_address_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="dask://host:port"), open_executor(1, "http://x"):
        pass


def test_a_full_disk_is_one_error_and_what_is_done_stays(many, tmp_path, monkeypatch):
    store, written = tmp_path / "store", []

    def write(*args, **kwargs):
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(store / "volumes"))
        written.append(args)
        return write_volume(*args, **kwargs)

    write_volume = jobs_module.write_volume
    monkeypatch.setattr(jobs_module, "write_volume", write)
    with pytest.raises(DataError, match=r"cannot be written \(No space left.*Make room") as error:
        prepare(many, store, CONTRACT)
    assert error.value.kind == "not_writable"
    monkeypatch.undo()
    done = len(list((store / "records").glob("*.json")))
    assert done >= 1
    assert prepare(many, store, CONTRACT).num_skipped == done


def test_a_file_that_does_not_fit_is_noticed_though_simpleitk_says_nothing(many, tmp_path):
    """A limit on the size of files stands in for a full disk: only what fits is written."""
    code = RUN.replace("import sys\n", "import sys, resource, signal\n"
                       "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
                       "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n", 1)  # fmt: skip
    store = tmp_path / "store"
    done = subprocess.run(
        [sys.executable, "-c", code, str(many), str(store), str(Path(__file__).parent), "1"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert not list(store.rglob("*.nii*"))
    assert not list(store.rglob(".tmp-*"))
    assert prepare(many, store, CONTRACT).num_prepared == NUM_VOLUMES


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_error(many, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(DataError, match="Permission denied"):
        prepare(many, tmp_path / "locked" / "store", CONTRACT)


def test_a_store_below_a_file_is_one_error(many, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot be written"):
        prepare(many, tmp_path / "file" / "store", CONTRACT)


def test_what_killed_runs_left_is_removed_at_the_end(many, tmp_path):
    store = tmp_path / "store"
    prepare(many, store, CONTRACT, shard=(1, 2))
    (store / "volumes" / ".tmp-123-v7.nii.gz").write_bytes(b"half")
    prepare(many, store, CONTRACT)
    assert not list(store.rglob(".tmp-*"))
    assert len(pd.read_csv(store / "manifest.csv")) == NUM_VOLUMES
