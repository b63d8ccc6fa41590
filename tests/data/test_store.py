import itertools
import json
import struct

import numpy as np
import pytest

from simcrop.data.archive import SPLITS
from simcrop.data.contract import Contract
from simcrop.data.prepare import prepare
from simcrop.data.preprocessing import prepare_volume
from simcrop.data.store import Store
from simcrop.errors import DataError
from simcrop.report.sections import make_report

CONTRACT = Contract(spacing_mm=(4.0, 4.0, 4.0), crop_shape=(16, 16, 16), patch_shape=(4, 4, 4))


@pytest.fixture
def store(archive_dir, tmp_path) -> Store:
    prepare(archive_dir, tmp_path / "store", CONTRACT)
    return Store(tmp_path / "store")


def test_reading_gives_what_preparing_the_source_gives(store, archive_dir):
    volume = prepare_volume(archive_dir / "v1.nii.gz", CONTRACT)
    hu, affine = store.read_hu("v1")
    assert hu.dtype == np.int16
    np.testing.assert_array_equal(hu, volume.hu)
    np.testing.assert_allclose(affine, volume.affine, atol=1e-5)


def test_x_runs_fastest_and_writing_changes_the_array_alone(store):
    hu, _ = store.read_hu("v1")
    assert hu.flags.f_contiguous
    assert type(hu) is np.ndarray
    before = hu[0, 0, 0]
    hu[0, 0, 0] = 77
    assert store.read_hu("v1")[0][0, 0, 0] == before


@pytest.mark.parametrize("storage", ["nii", "nii.gz"])
def test_both_forms_of_storage_give_the_same(archive_dir, store, tmp_path, storage):
    prepare(archive_dir, tmp_path / "other", CONTRACT, storage=storage)
    other = Store(tmp_path / "other")
    for volume in store.volume_ids():
        for mine, theirs in zip(store.read_hu(volume), other.read_hu(volume), strict=True):
            np.testing.assert_array_equal(mine, theirs)
        assert other.volumes.at[volume, "path"] == f"volumes/{volume}.{storage}"


def test_finished_volumes_keep_their_form(archive_dir, tmp_path):
    prepare(archive_dir, tmp_path / "store", CONTRACT, storage="nii.gz")
    assert prepare(archive_dir, tmp_path / "store", CONTRACT).num_prepared == 0
    assert Store(tmp_path / "store").volumes.path.str.endswith(".nii.gz").all()


def test_tables_answer_by_volume_study_and_split(store):
    assert store.contract == CONTRACT
    assert store.volume_ids() == ["v1", "v1_again", "v2", "v3"]
    assert store.study_of("v1_again") == "s1"
    assert store.volumes.at["v1", "nx"] == 18
    assert store.labels.at["s1", "Nodule"] == 1
    by_split = [store.volume_ids(split) for split in SPLITS]
    assert sorted(itertools.chain(*by_split)) == store.volume_ids()
    patients = [store.patients_of(split) for split in SPLITS]
    assert sorted(itertools.chain(*patients)) == ["patient_00001", "patient_00002"]


def test_reports_come_back_as_they_were(store):
    assert store.report("s1") == make_report("A ball is seen. No effusion.", "Ball.")
    assert store.report("s2").impression == ""
    assert store.report("s3").full == "Ball unchanged."


def test_given_sentences_survive_the_store(archive_dir, tmp_path):
    text = "study_id,patient_id,findings,impression,sentences\n"
    text += 's1,a,"A ball, 3 cm. Clear.",,"A ball, 3 cm.|Clear."\n'
    (archive_dir / "reports.csv").write_text(text)
    prepare(archive_dir, tmp_path / "store", CONTRACT)
    assert Store(tmp_path / "store").report("s1").sentences == ("A ball, 3 cm.", "Clear.")


def test_a_store_without_optional_tables_says_so(archive_dir, tmp_path):
    for name in ("labels", "masks", "anatomy", "anatomy_names"):
        (archive_dir / f"{name}.csv").unlink()
    prepare(archive_dir, tmp_path / "store", CONTRACT)
    store = Store(tmp_path / "store")
    assert store.labels is store.masks is store.anatomy is None
    assert store.anatomy_names == {}
    with pytest.raises(DataError, match=r"no anatomy\.csv"):
        store.read_anatomy("v1")


def test_what_is_no_finished_store_is_refused(store, tmp_path):
    with pytest.raises(DataError, match=r"no readable contract\.json"):
        Store(tmp_path / "nowhere")
    (store.folder / "manifest.csv").unlink()
    with pytest.raises(DataError, match=r"manifest\.csv: missing"):
        Store(store.folder)


def test_an_edited_contract_is_refused(store):
    path = store.folder / "contract.json"
    values = json.loads(path.read_text()) | {"spacing_mm": [1.0, 1.0, 1.0]}
    path.write_text(json.dumps(values))
    with pytest.raises(DataError, match="Somebody edited it"):
        Store(store.folder)


def test_a_damaged_volume_is_named(store):
    (store.folder / "volumes" / "v2.nii").write_bytes(b"")
    with pytest.raises(DataError, match=r"v2\.nii: missing or damaged.*prepare"):
        store.read_hu("v2")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_volume_cut_short_is_refused(store, share):
    path = store.folder / store.volumes.at["v1", "path"]
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DataError, match=r"damaged, \d+ bytes; expected \d+"):
        store.read_hu("v1")


NAN = struct.pack("<f", float("nan"))
DAMAGES = {
    "dim": (42, struct.pack("<h", 3000)),
    "negative_dim": (42, struct.pack("<h", -1)),
    "num_dims": (40, struct.pack("<h", 77)),
    "vox_offset": (108, struct.pack("<f", 1e6)),
    "vox_offset_before_the_voxels": (108, struct.pack("<f", 0.0)),
    "vox_offset_nan": (108, NAN),
    "vox_offset_inf": (108, struct.pack("<f", float("inf"))),
    "datatype": (70, struct.pack("<h", 12345)),
    "whole_header": (0, b"\xa5" * 348),
}


def damage(path, offset: int, data: bytes) -> None:
    """Write over some bytes of a NIfTI; its length stays."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_header_is_one_error_that_names_the_file(store, name):
    damage(store.folder / "volumes" / "v2.nii", *DAMAGES[name])
    with pytest.raises(DataError, match=r"v2\.nii: missing or damaged.*prepare") as caught:
        store.read_hu("v2")
    assert caught.value.kind == "truncated"


def test_a_header_with_other_axes_than_the_manifest_is_refused(store):
    x, y, z = (int(store.volumes.at["v2", axis]) for axis in ("nx", "ny", "nz"))
    damage(store.folder / "volumes" / "v2.nii", 42, struct.pack("<3h", 1, x, y * z))
    with pytest.raises(DataError, match=rf"v2\.nii: \(1, {x}, {y * z}\) .*\({x}, {y}, {z}\)"):
        store.read_hu("v2")
