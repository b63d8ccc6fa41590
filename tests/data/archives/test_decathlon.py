"""Any set with a dataset.json: classes from the list, parts by patient, paths from its folder."""

import json

import published_trees as trees
import pytest

from simcrop.data.archives import Draw, read_public_set
from simcrop.data.archives.decathlon import case_name, read_list
from simcrop.errors import DataError


def change(folder, **fields):
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.fixture
def folder(tmp_path):
    return trees.btcv(tmp_path / "set")


@pytest.mark.parametrize(
    "labels", [{"0": "background", "2": "tumour"}, {"background": 0, "tumour": 2}]
)
def test_classes_come_from_the_list_either_way_round(folder, labels):
    change(folder, labels=labels)
    names = read_public_set(folder, "decathlon", Draw()).anatomy_names
    assert dict(zip(names["value"], names["name"], strict=True)) == {0: "background", 2: "tumour"}


def test_a_validation_part_is_the_test_part(folder):
    archive = read_public_set(folder, "decathlon", Draw(val_fraction=0.25))
    parts = archive.reports.set_index("study_id")["split"]
    assert sorted(parts[parts == "test"].index) == ["img0005", "img0006"]
    assert (parts == "val").sum() == 1


def test_a_list_of_training_cases_alone_is_divided_by_patient(folder):
    change(folder, validation=[])
    archive = read_public_set(folder, "decathlon", Draw(val_fraction=0.25, test_fraction=0.25))
    assert archive.reports["split"].value_counts().to_dict() == {"train": 2, "val": 1, "test": 1}
    assert not archive.has_lungs
    assert archive.paper_split is None


def test_paths_start_at_the_list_wherever_it_lies(folder):
    archive = read_public_set(folder.parent, "decathlon", Draw())
    assert archive.root == folder
    assert (archive.root / archive.anatomy["path"][0]).exists()


@pytest.mark.parametrize("damage", [{"labels": ["a"]}, {"training": [{"image": "a.nii.gz"}]}])
def test_a_damaged_list_is_refused(folder, damage):
    change(folder, **damage)
    with pytest.raises(DataError, match="Decathlon list"):
        read_list(folder / "dataset.json")


def test_a_case_is_named_by_its_file():
    assert case_name("imagesTr/img0001.nii.gz") == case_name("img0001.mha") == "img0001"
    assert case_name("scan.of.a.patient") == "scan.of.a.patient"
