"""A store at a URL and through the uncompressed cache gives the bytes of the store in a folder."""

import functools
import http.server
import threading

import fsspec
import numpy as np
import pytest
from chest_like import CONTRACT
from synthetic_ct import write_archive

from simcrop.data.prepare import prepare
from simcrop.data.samples import Augmentation, StudyDataset, TextSample
from simcrop.data.store import Store
from simcrop.errors import DataError

SMALL = CONTRACT.__class__(
    spacing_mm=(4.0, 4.0, 4.0), crop_shape=(16, 16, 16), patch_shape=(4, 4, 4)
)


@pytest.fixture
def store(tmp_path, ct_image) -> Store:
    prepare(write_archive(tmp_path / "archive", ct_image), tmp_path / "store", SMALL)
    return Store(tmp_path / "store")


def same(mine: Store, theirs: Store) -> None:
    assert mine.contract == theirs.contract
    assert mine.volume_ids() == theirs.volume_ids()
    for volume in theirs.volume_ids():
        for ours, expected in zip(mine.read_hu(volume), theirs.read_hu(volume), strict=True):
            np.testing.assert_array_equal(ours, expected)
            assert ours.dtype == expected.dtype
    path = theirs.need_masks().path[0]
    np.testing.assert_array_equal(mine.read_mask(path), theirs.read_mask(path))
    assert mine.report("s1") == theirs.report("s1")


def test_a_store_in_memory_of_fsspec(store, tmp_path):
    files = fsspec.filesystem("memory")
    files.put(str(store.folder), "/bucket/store", recursive=True)
    url = Store("memory://bucket/store", cache=tmp_path / "cache")
    assert url.location == "memory://bucket/store"
    same(url, store)
    fetched = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nii.gz")}
    same(Store("memory://bucket/store", cache=tmp_path / "cache"), store)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.nii.gz")} == (
        fetched
    )
    files.rm("/bucket/store/manifest.csv")
    with pytest.raises(DataError, match=r"bucket/store/manifest\.csv: missing"):
        Store("memory://bucket/store", cache=tmp_path / "cache")


def test_a_store_behind_a_web_server(store, tmp_path):
    pytest.importorskip("aiohttp")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *args: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/store"
        same(Store(url, cache=tmp_path / "cache"), store)
        with pytest.raises(DataError, match=r"no readable contract\.json"):
            Store(url + "_that_is_not_there", cache=tmp_path / "cache")
        server.shutdown()


def test_a_url_without_its_package_or_its_server_is_one_error(tmp_path):
    with pytest.raises(DataError, match=r"nosuch.*Install it") as error:
        Store("nosuch://bucket/store", cache=tmp_path)
    assert error.value.kind == "unreachable"
    with pytest.raises(DataError, match=r"not reached|no readable"):
        Store("http://127.0.0.1:9/store", cache=tmp_path)


def test_the_uncompressed_cache_gives_the_same_voxels_and_is_written_once(store, tmp_path):
    cached = Store(store.folder, cache=tmp_path / "cache")
    same(cached, store)
    files = sorted((tmp_path / "cache" / "uncompressed").iterdir())
    assert len(files) == 4
    assert all(path.stat().st_size == 128 + 2 * 18 * 20 * 25 for path in files)
    times = [path.stat().st_mtime_ns for path in files]
    hu, _ = Store(store.folder, cache=tmp_path / "cache").read_hu("v1")
    assert isinstance(hu.base, np.memmap) or isinstance(hu, np.memmap)
    assert not hu.flags.writeable
    assert [path.stat().st_mtime_ns for path in files] == times
    files[0].write_bytes(files[0].read_bytes()[:100])  # cut short by something else: made again
    same(Store(store.folder, cache=tmp_path / "cache"), store)


def test_another_preparation_has_files_of_its_own(store, tmp_path, ct_image):
    same(Store(store.folder, cache=tmp_path / "cache"), store)
    coarse = SMALL.__class__(
        spacing_mm=(5.0, 5.0, 5.0), crop_shape=(16, 16, 16), patch_shape=(4, 4, 4)
    )
    prepare(tmp_path / "archive", tmp_path / "coarse", coarse)
    same(Store(tmp_path / "coarse", cache=tmp_path / "cache"), Store(tmp_path / "coarse"))


def test_training_samples_are_the_same_with_and_without_the_cache(store, tmp_path):
    augmentation = Augmentation((0.8, 1.0), (0.5, 0.5, 0.5), 0.5, 0.1)

    def samples(source: Store) -> list:
        text = TextSample.__new__(TextSample)
        dataset = StudyDataset(
            source, ["s1", "s2"], SMALL, lambda *_: text, seed=3, augmentation=augmentation
        )
        return [dataset[epoch, position] for epoch in range(3) for position in range(2)]

    plain, cached = samples(store), samples(Store(store.folder, cache=tmp_path / "cache"))
    for mine, theirs in zip(cached, plain, strict=True):
        assert (mine.voxels == theirs.voxels).all()
        assert (mine.is_padding == theirs.is_padding).all()
        assert (mine.is_body == theirs.is_body).all()
    assert len({sample.voxels.sum().item() for sample in plain}) == 6
