import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from synthetic_ct import MASKS, REPORTS, VOLUMES, write_table

from simcrop.data.contract import Contract
from simcrop.data.prepare import PrepareSummary, prepare
from simcrop.data.store import Store
from simcrop.errors import DataError

CONTRACT = Contract(spacing_mm=(4.0, 4.0, 4.0), crop_shape=(16, 16, 16), patch_shape=(4, 4, 4))


def table(store: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(store / f"{name}.csv", dtype=str, keep_default_na=False)


def content(store: Path) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()}


def test_an_archive_becomes_a_store(archive_dir, tmp_path):
    progress = []
    summary = prepare(
        archive_dir, tmp_path / "store", CONTRACT, on_progress=lambda *done: progress.append(done)
    )
    assert summary == PrepareSummary(4, 0, 0, 0)
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]
    manifest = table(tmp_path / "store", "manifest")
    assert manifest.columns.tolist() == [
        "volume_id", "study_id", "patient_id", "path", "nx", "ny", "nz", "bytes", "source_format",
        "native_grid", "series",
    ]  # fmt: skip
    assert manifest.source_format.tolist() == ["NIfTI", "DICOM", "NRRD", "MHA"]
    assert manifest.iloc[0][["nx", "ny", "nz"]].tolist() == ["18", "20", "25"]
    sizes = [(tmp_path / "store" / path).stat().st_size for path in manifest.path]
    assert manifest["bytes"].astype(int).tolist() == sizes


def test_patients_become_pseudonyms_and_nothing_else_tells_who_they_are(archive_dir, tmp_path):
    prepare(archive_dir, tmp_path / "store", CONTRACT)
    reports = table(tmp_path / "store", "reports").set_index("study_id")
    assert reports.patient_id.tolist() == ["patient_00001", "patient_00002", "patient_00001"]
    assert reports.impression.tolist() == ["Ball.", "", "Ball unchanged."]
    written = content(tmp_path / "store")
    assert not [name for name, data in written.items() if b"Anna" in data or b"Secret" in data]
    prepare(archive_dir, tmp_path / "named", CONTRACT, keep_patient_ids=True)
    named = table(tmp_path / "named", "manifest").patient_id
    assert named.tolist() == ["Anna", "Anna", "Bert", "Anna"]


def test_masks_and_anatomy_lie_on_every_volume_of_the_study(archive_dir, tmp_path):
    prepare(archive_dir, tmp_path / "store", CONTRACT)
    store = Store(tmp_path / "store")
    assert store.masks.volume_id.tolist() == ["v1", "v1_again"]
    assert store.masks.label.tolist() == ["Nodule", "Nodule"]
    assert "value" not in store.masks
    for volume_id, path in zip(store.masks.volume_id, store.masks.path, strict=True):
        hu, _ = store.read_hu(volume_id)
        mask = store.read_mask(path)
        assert mask.shape == hu.shape
        assert hu[mask].mean() > 100 > -500 > hu[~mask].mean()
    organs = store.read_anatomy("v1")
    assert set(np.unique(organs)) == {0, 1, 3} or set(np.unique(organs)) == {1, 3}
    assert store.anatomy_names == {1: "air", 3: "ball"}
    assert store.labels.index.tolist() == ["s1", "s2"]  # s9 has no volume


def test_one_bad_volume_does_not_stop_the_others(archive_dir, tmp_path):
    reports = [*REPORTS, ("s4", "Carl", "nan", "  "), ("s5", "Dora", "Text.", "")]
    write_table(archive_dir / "reports.csv", "study_id patient_id findings impression", reports)
    rows = [
        *VOLUMES,
        ("empty_report", "s4", "v1.nii.gz"),
        ("no_report", "s8", "v1.nii.gz"),
        ("../escape", "s5", "v1.nii.gz"),
        ("missing", "s5", "nowhere.nii.gz"),
        ("damaged", "s5", "damaged.nii.gz"),
        ("no_path", "s5", ""),
    ]
    write_table(archive_dir / "volumes.csv", "volume_id study_id path", rows)
    (archive_dir / "damaged.nii.gz").write_bytes((archive_dir / "v1.nii.gz").read_bytes()[:900])
    masks = [*MASKS, ("s1", "No effusion.", "ball.nii.gz", 9, ""), ("s2", "x", "no.nii.gz", 1, "")]
    write_table(archive_dir / "masks.csv", "study_id sentence path value label", masks)
    summary = prepare(archive_dir, tmp_path / "store", CONTRACT)
    assert summary == PrepareSummary(4, 0, 6, 3)
    refused = table(tmp_path / "store", "refused").set_index("volume_id")
    expected = {
        "empty_report": ("report", "empty_report", "empty report"),
        "no_report": ("report", "missing_report", "no report of this study"),
        "../escape": ("table", "unsafe_name", "letters, digits"),
        "missing": ("volume", "missing_file", "no such file"),
        "damaged": ("volume", "truncated", "truncated"),
        "no_path": ("table", "missing_file", "no path"),
        "v1": ("mask", "empty_mask", "value 9: no voxel"),
        "v1_again": ("mask", "empty_mask", "value 9: no voxel"),
        "v2": ("mask", "missing_file", "no such file"),
    }
    assert set(refused.index) == set(expected)
    for volume_id, (stage, kind, reason) in expected.items():
        assert refused.loc[volume_id, ["stage", "kind"]].tolist() == [stage, kind]
        assert reason in refused.at[volume_id, "reason"]
    assert refused.at["damaged", "path"] == "damaged.nii.gz"  # as the table has it
    assert Store(tmp_path / "store").volume_ids() == ["v1", "v1_again", "v2", "v3"]
    assert not list(tmp_path.glob("escape*"))
    splits = table(tmp_path / "store", "splits")
    assert splits.patient_id.tolist() == ["patient_00001", "patient_00002"]  # Carl has no volume


def test_masks_and_label_maps_of_nothing_are_recorded(archive_dir, tmp_path):
    masks = [*MASKS, ("S1", "A ball is seen.", "ball.nii.gz", 7, "Nodule")]
    write_table(archive_dir / "masks.csv", "study_id sentence path value label", masks)
    write_table(archive_dir / "anatomy.csv", "volume_id path", [("v9", "organs.nii.gz")])
    assert prepare(archive_dir, tmp_path / "store", CONTRACT) == PrepareSummary(4, 0, 0, 2)
    refused = table(tmp_path / "store", "refused")
    assert refused[["volume_id", "study_id", "stage"]].to_numpy().tolist() == [
        ["", "S1", "mask"],
        ["v9", "", "anatomy"],
    ]


def test_a_second_run_does_nothing_and_a_lost_file_is_made_again(archive_dir, tmp_path):
    store = tmp_path / "store"
    prepare(archive_dir, store, CONTRACT)
    first = content(store)
    times = {path: path.stat().st_mtime_ns for path in store.rglob("*.nii*")}
    assert prepare(archive_dir, store, CONTRACT) == PrepareSummary(0, 4, 0, 0)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*.nii*")} == times
    for lost in ("volumes/v2.nii", "masks/v1/000.nii.gz"):
        (store / lost).unlink()
        assert prepare(archive_dir, store, CONTRACT) == PrepareSummary(1, 3, 0, 0)
        assert content(store) == first
    assert prepare(archive_dir, store, CONTRACT, overwrite=True).num_prepared == 4
    assert content(store) == first


def test_a_killed_run_goes_on_to_the_same_bytes(archive_dir, tmp_path):
    prepare(archive_dir, tmp_path / "whole", CONTRACT)

    def stop(done: int, of: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(archive_dir, tmp_path / "store", CONTRACT, on_progress=stop)
    with pytest.raises(DataError, match="to its end"):
        Store(tmp_path / "store")
    records = tmp_path / "store" / "records"
    (records / "v1.json").write_text((records / "v1.json").read_text()[:99])
    (tmp_path / "store" / "volumes" / ".tmp-v2.nii.gz").write_bytes(b"half")
    assert prepare(archive_dir, tmp_path / "store", CONTRACT) == PrepareSummary(3, 1, 0, 0)
    assert content(tmp_path / "store") == content(tmp_path / "whole")


def test_a_changed_row_is_prepared_again(archive_dir, tmp_path):
    prepare(archive_dir, tmp_path / "store", CONTRACT)
    masks = [("s1", "No effusion.", "ball.nii.gz", 7, "Nodule")]
    write_table(archive_dir / "masks.csv", "study_id sentence path value label", masks)
    assert prepare(archive_dir, tmp_path / "store", CONTRACT) == PrepareSummary(2, 2, 0, 0)
    assert set(table(tmp_path / "store", "masks").sentence) == {"No effusion."}


def test_another_contract_is_refused_line_by_line_unless_overwritten(archive_dir, tmp_path):
    store = tmp_path / "store"
    prepare(archive_dir, store, CONTRACT)
    other = Contract(spacing_mm=(5.0, 5.0, 5.0), crop_shape=(16, 16, 16), patch_shape=(4, 4, 4))
    with pytest.raises(DataError, match=r"spacing_mm: \[5.0, 5.0, 5.0\] here, \[4.0, 4.0, 4.0\]"):
        prepare(archive_dir, store, other)
    assert prepare(archive_dir, store, other, overwrite=True) == PrepareSummary(4, 0, 0, 0)
    assert Store(store).contract == other
    assert json.loads((store / "contract.json").read_text())["hash"] == other.hash


def test_a_folder_with_other_things_is_left_alone(archive_dir, tmp_path):
    with pytest.raises(DataError, match="other things in it"):
        prepare(archive_dir, archive_dir, CONTRACT)


def test_splits_are_of_the_archive_or_drawn_by_patient(archive_dir, tmp_path):
    prepare(archive_dir, tmp_path / "drawn", CONTRACT, val_fraction=0.5, test_fraction=0.0)
    assert sorted(table(tmp_path / "drawn", "splits").split) == ["train", "val"]
    rows = [(*row, {"Anna": "test", "Bert": "val"}[row[1]]) for row in REPORTS]
    write_table(archive_dir / "reports.csv", "study_id patient_id findings impression split", rows)
    prepare(archive_dir, tmp_path / "given", CONTRACT)
    store = Store(tmp_path / "given")
    assert store.volume_ids("test") == ["v1", "v1_again", "v3"]
    assert store.volume_ids("val") == ["v2"]
    assert store.volume_ids("train") == store.patients_of("train") == []


def test_impossible_fractions_stop_before_any_work(archive_dir, tmp_path):
    with pytest.raises(ValueError, match="less than 1"):
        prepare(archive_dir, tmp_path / "store", CONTRACT, val_fraction=0.6, test_fraction=0.6)
    assert not (tmp_path / "store").exists()


def test_several_processes_write_the_same_bytes_as_one(archive_dir, tmp_path):
    prepare(archive_dir, tmp_path / "one", CONTRACT)
    assert prepare(archive_dir, tmp_path / "two", CONTRACT, workers=2).num_prepared == 4
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_the_real_archive_is_prepared_and_both_forms_of_a_study_agree(shared_data, tmp_path):
    contract = Contract(spacing_mm=(6.0, 6.0, 6.0), crop_shape=(32, 32, 32), patch_shape=(8, 8, 8))
    summary = prepare(shared_data / "archive", tmp_path / "store", contract)
    assert summary == PrepareSummary(7, 0, 0, 0)
    store = Store(tmp_path / "store")
    (nrrd, nrrd_affine), (dicom, dicom_affine) = map(store.read_hu, ("cip_nrrd", "cip_dicom"))
    np.testing.assert_array_equal(nrrd, dicom)
    np.testing.assert_array_equal(nrrd_affine, dicom_affine)
    assert nrrd.shape == (44, 44, 52)
    row = store.masks.set_index("volume_id").loc["lidc0001_nifti"]
    center = np.argwhere(store.read_mask(row.path)).mean(axis=0)
    _, affine = store.read_hu("lidc0001_nifti")
    found, luna16_annotation = affine[:3, :3] @ center + affine[:3, 3], (-56.2, -86.3, -115.9)
    np.testing.assert_allclose(found, luna16_annotation, atol=3)


def test_mask_files_hold_zeros_and_ones_as_bytes(archive_dir, tmp_path):
    prepare(archive_dir, tmp_path / "store", CONTRACT)
    mask = sitk.ReadImage(str(tmp_path / "store" / "masks" / "v1" / "000.nii.gz"))
    assert mask.GetPixelID() == sitk.sitkUInt8
    assert set(np.unique(sitk.GetArrayFromImage(mask))) == {0, 1}
