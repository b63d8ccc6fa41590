import json
import shutil

import numpy as np
import pandas as pd
import published_trees as trees
import pytest
import SimpleITK as sitk  # noqa: N813
from typer.testing import CliRunner

from simcrop.cli.main import app
from simcrop.data.archives import LAYOUTS, Draw, read_public_set
from simcrop.data.contract import Contract
from simcrop.data.label_names import BTCV, CT_RATE, LUNA16_SEGMENTATION, RAD_CHEST_CT
from simcrop.data.prepare import prepare
from simcrop.data.stated import rescale_state
from simcrop.data.store import Store
from simcrop.errors import DataError

CONTRACT = Contract(spacing_mm=(4.0, 4.0, 4.0), crop_shape=(16, 16, 16), patch_shape=(4, 4, 4))


def prepared(folder, tmp_path, layout, **options) -> Store:
    made = prepare(folder, tmp_path / f"store_{folder.name}", CONTRACT, layout=layout,
                   val_fraction=0.25, test_fraction=0.25, **options)  # fmt: skip
    assert made.num_refused == made.num_masks_refused == 0
    return Store(tmp_path / f"store_{folder.name}")


def kind_of(folder, layout) -> str:
    with pytest.raises(DataError) as error:
        read_public_set(folder, layout, Draw())
    assert str(error.value).count(".") >= 1
    return error.value.kind


def test_both_releases_of_ct_rate_give_the_same_voxels(tmp_path):
    first = prepared(trees.ct_rate(tmp_path / "r1", fixed=False), tmp_path, "ct_rate")
    second = prepared(trees.ct_rate(tmp_path / "r2", fixed=True), tmp_path, "ct_rate")
    for volume in first.volume_ids():
        hu, affine = first.read_hu(volume)
        np.testing.assert_array_equal(hu, second.read_hu(volume)[0])
        np.testing.assert_array_equal(affine, second.read_hu(volume)[1])
        assert -1000 <= hu.min() < -900 < 600 < hu.max()


def test_ct_rate_is_grouped_by_scan_and_patient_with_val_out_of_train(tmp_path):
    store = prepared(trees.ct_rate(tmp_path / "set", fixed=True), tmp_path, "ct_rate")
    assert store.study_of("train_1_a_1") == store.study_of("train_1_a_2") == "train_1_a"
    assert store.volumes.patient_id["train_1_a_1"] == store.volumes.patient_id["train_1_b_1"]
    assert store.volume_ids("test") == ["valid_1_a_1"]
    assert [len(store.patients_of(part)) for part in ("train", "val", "test")] == [3, 1, 1]
    assert tuple(store.need_labels().columns) == CT_RATE
    assert store.report("train_1_a").impression == ""
    assert not store.selected_on_test


def test_a_second_release_in_the_place_of_the_first_is_not_rescaled_again(tmp_path):
    folder = trees.ct_rate(tmp_path / "set", fixed=False)
    fixed = trees.ct_rate(tmp_path / "other", fixed=True)
    wrong = "train/train_2/train_2_a/train_2_a_1.nii.gz"
    shutil.copy(fixed / "dataset" / wrong.replace("train/", "train_fixed/", 1),
                folder / "dataset" / wrong)  # fmt: skip
    made = prepare(folder, tmp_path / "store", CONTRACT, layout="ct_rate")
    refused = pd.read_csv(tmp_path / "store" / "refused.csv")
    assert made.num_refused == 1
    assert "HU already (second release)" in refused.reason[0]


def test_the_first_release_needs_its_metadata(tmp_path):
    folder = trees.ct_rate(tmp_path / "none", fixed=False, metadata=False)
    assert kind_of(folder, "ct_rate") == "missing_table"
    folder = trees.ct_rate(tmp_path / "row", fixed=False)
    table = folder / "dataset/metadata/train_metadata.csv"
    pd.read_csv(table).iloc[1:].to_csv(table, index=False)
    assert prepare(folder, tmp_path / "s", CONTRACT, layout="ct_rate").num_refused == 1
    assert "no row in train_metadata.csv" in (tmp_path / "s" / "refused.csv").read_text()
    pd.read_csv(table).drop(columns="RescaleSlope").to_csv(table, index=False)
    assert kind_of(folder, "ct_rate") == "missing_column"


def test_heads_are_left_out_and_strange_names_and_labels_refused(tmp_path):
    folder = trees.ct_rate(tmp_path / "set", fixed=True)
    (folder / "dataset/metadata/no_chest_train.txt").write_text("train_4_a_1.nii.gz\n")
    assert "train_4_a_1" not in set(read_public_set(folder, "ct_rate", Draw()).volumes.volume_id)
    labels = folder / "dataset/multi_abnormality_labels/train_predicted_labels.csv"
    pd.read_csv(labels).rename(columns={"Cardiomegaly": "Heart"}).to_csv(labels, index=False)
    assert kind_of(folder, "ct_rate") == "unknown_label"
    reports = folder / "dataset/radiology_text_reports/train_reports.csv"
    table = pd.read_csv(reports)
    table.loc[1, "Findings_EN"] = "Another text."
    table.to_csv(reports, index=False)
    assert kind_of(folder, "ct_rate") == "two_reports"
    sitk.WriteImage(trees.image(trees.chest()), str(folder / "dataset/train_fixed/ct.nii.gz"))
    assert kind_of(folder, "ct_rate") == "unmatched_names"


def test_rad_chest_ct_arrays_stand_upright_and_labels_are_condensed(tmp_path):
    store = prepared(trees.rad_chest_ct(tmp_path / "set"), tmp_path, "rad_chest_ct")
    labels = store.need_labels()
    assert tuple(labels.columns) == RAD_CHEST_CT
    assert labels.columns[labels.loc["trn00001"] == 1].tolist() == ["Lung nodule",
                                                                    "Pleural effusion"]  # fmt: skip
    assert store.volume_ids("val") == ["val00001", "val00002"]
    hu, _ = store.read_hu("trn00001")
    bright = np.argwhere(hu > 300).mean(axis=0) / hu.shape
    # painted on the patient's right, near the feet; in RAS order x is high and z low there
    assert store.volumes.source_format["trn00001"] == "NPZ"
    assert bright[0] > 0.5 > bright[2]


def test_the_doubled_effusion_column_of_rad_chest_ct_is_refused(tmp_path):
    folder = trees.rad_chest_ct(tmp_path / "set")
    for table in folder.glob("img*.csv"):
        table.unlink()
    rows = [{"NoteAcc_DEID": "trn00001"} | dict.fromkeys(RAD_CHEST_CT, 1),
            {"NoteAcc_DEID": "trn00002"} | dict.fromkeys(RAD_CHEST_CT, 0)]  # fmt: skip
    table = pd.DataFrame(rows).rename(columns={"Hiatal hernia": "Hietal Hernia"})
    table.to_csv(folder / "labels.csv", index=False)
    with pytest.raises(DataError, match=r"one of them is wrong.*published tables") as error:
        read_public_set(folder, "rad_chest_ct", Draw())
    assert error.value.kind == "duplicated_label"
    table.loc[0, "Pericardial effusion"] = 0
    table.to_csv(folder / "labels.csv", index=False)
    labels = read_public_set(folder, "rad_chest_ct", Draw()).labels
    assert labels["Hiatal hernia"].tolist() == [1, 0]


def test_cc_ccii_fills_the_window_and_keeps_patients_together(tmp_path):
    folder = trees.cc_ccii(tmp_path / "set")
    store = prepared(folder, tmp_path, "cc_ccii")
    assert len(store.volume_ids()) == 12
    assert (store.need_labels().sum(axis=1) == 1).all()
    hu, _ = store.read_hu("NCP_10_N1001")
    assert hu.min() == -1000
    assert store.volumes.source_format["NCP_10_N1001"] == "slices"
    parts = [set(store.patients_of(part)) for part in ("train", "val", "test")]
    assert not parts[0] & parts[1] | parts[1] & parts[2] | parts[0] & parts[2]
    (folder / "CP/11/C1003/0005.png").unlink()
    made = prepare(folder, tmp_path / "again", CONTRACT, layout="cc_ccii")
    assert made.num_refused == 1
    assert "every number once" in (tmp_path / "again/refused.csv").read_text()


def test_luna16_has_scan_labels_and_four_classes(tmp_path):
    folder = trees.luna16(tmp_path / "set")
    store = prepared(folder, tmp_path, "luna16")
    assert store.need_labels()["Lung nodule"].sum() == 1
    assert tuple(store.anatomy_names.values()) == LUNA16_SEGMENTATION
    first = store.volume_ids()[0]
    organs, hu = store.read_anatomy(first), store.read_hu(first)[0]
    assert set(np.unique(organs)) == {0, 1, 2, 3}
    assert hu[organs == 2].mean() < -500
    pd.DataFrame([{"seriesuid": "9.9", "coordX": 1, "diameter_mm": 1}]).to_csv(
        folder / "annotations.csv", index=False
    )
    assert kind_of(folder, "luna16") == "unmatched_names"


def test_btcv_has_fourteen_classes_and_a_test_part_of_its_own(tmp_path):
    folder = trees.btcv(tmp_path / "set")
    store = prepared(folder, tmp_path, "btcv")
    assert tuple(store.anatomy_names.values()) == BTCV
    assert store.volume_ids("test") == ["img0005", "img0006"]
    assert len(store.volume_ids("val")) == 1
    paper = Store(store.folder, split="paper_split")
    assert paper.volume_ids("val") == paper.volume_ids("test") == store.volume_ids("test")
    assert paper.selected_on_test
    listed = json.loads((folder / "dataset.json").read_text())
    del listed["labels"]["13"]
    (folder / "dataset.json").unlink()
    assert kind_of(folder, "btcv") == "missing_table"
    (folder / "dataset_0.json").write_text(json.dumps(listed))  # the name in MONAI's tutorials
    assert kind_of(folder, "btcv") == "unknown_label"


def test_the_authors_lists_give_a_split_that_says_selected_on_test(tmp_path):
    folder, lists = trees.luna16(tmp_path / "set"), tmp_path / "lists"
    names = read_public_set(folder, "luna16", Draw()).volumes.volume_id.tolist()
    for part, chosen in (("train", names[:3]), ("val", names[3:]), ("test", names[3:])):
        rows = [{"img_list": f"{name}.nii.gz", "label": 0} for name in chosen]
        trees.write_csv(lists / f"{part}_list.csv", rows)
    clean = prepared(folder, tmp_path, "luna16", paper_lists=lists)
    paper = Store(clean.folder, split="paper_split")
    assert paper.volume_ids("train") == names[:3]
    assert paper.volume_ids("val") == paper.volume_ids("test") == names[3:]
    assert paper.selected_on_test
    assert not clean.selected_on_test
    with pytest.raises(DataError, match="no split named other"):
        Store(clean.folder, split="other")
    trees.write_csv(lists / "train_list.csv", [{"img_list": "x", "label": 0}])
    with pytest.raises(DataError, match="none of its volumes"):
        read_public_set(folder, "luna16", Draw(), lists)


def test_from_the_published_layout_to_a_figure_selected_on_test(tmp_path, tiny_run):
    """Both commands; the words stand in the results of the paper's split and nowhere else."""
    folder, lists = trees.luna16(tmp_path / "set"), tmp_path / "lists"
    archive = read_public_set(folder, "luna16", Draw())
    names = archive.labels.sort_values("Lung nodule").study_id.tolist()
    parts = {"train": [names[0], names[-1]], "val": names[1:-1], "test": names[1:-1]}
    for part, chosen in parts.items():
        trees.write_csv(lists / f"{part}_list.csv", [{"img_list": f"{n}.mhd"} for n in chosen])
    store = tmp_path / "store"
    run = CliRunner().invoke
    made = run(app, ["prepare", "-i", str(folder), "--layout", "luna16", "--recipe", "tiny", "-o",
                     str(store), "--paper-lists", str(lists), "--workers", "1",
                     "--set", "volume.crop_shape=[24, 12, 12]"])  # fmt: skip
    assert made.exit_code == 0, made.output
    for split, note in (("paper_split", "selected on test"), ("clean", "")):
        output = tmp_path / split
        found = run(app, ["probe", "--checkpoint", str(tiny_run.folder), "--store", str(store),
                          "--split", split, "--no-untrained", "-o", str(output)])  # fmt: skip
        assert found.exit_code == 0, found.output
        written = json.loads((output / "results.json").read_text())
        assert (written["settings"]["split"], written["note"]) == (split, note)
        assert ("selected on test" in (output / "table.md").read_text()) == bool(note)


@pytest.mark.parametrize("cell", ["", "2", "yes"])
def test_condensed_labels_are_0_or_1(tmp_path, cell):
    folder = trees.rad_chest_ct(tmp_path)
    for path in folder.rglob("*Abnormality*"):
        path.unlink()
    row = {"NoteAcc_DEID": "trn00001.npz"} | dict.fromkeys(RAD_CHEST_CT, "0")
    trees.write_csv(folder / "labels.csv", [row | {RAD_CHEST_CT[0]: cell}])
    assert kind_of(folder, "rad_chest_ct") == "unknown_label"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_empty_or_missing_folder_is_refused(tmp_path, layout):
    assert kind_of(tmp_path, layout) in {"no_volumes", "missing_table"}
    assert kind_of(tmp_path / "nowhere", layout) == "missing_table"


def test_a_store_of_8_bit_slices_says_so_and_takes_no_volumes_in_hu(tmp_path):
    store = prepared(trees.cc_ccii(tmp_path / "set"), tmp_path, "cc_ccii")
    assert store.contract.rescale == "spread_8bit"
    header = '{"spacing_mm": [1, 1, 1], "direction": [1,0,0,0,1,0,0,0,1], "is_8bit": true}'
    with pytest.raises(DataError, match="volumes in HU and 8-bit volumes") as refusal:
        rescale_state(["", header], tmp_path)
    assert refusal.value.kind == "mixed_rescale"
    assert rescale_state([header, "{faulty"], tmp_path) == "spread_8bit"
    assert rescale_state([], tmp_path) == "hu"
