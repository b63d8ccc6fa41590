from pathlib import Path

import pandas as pd
import pytest

from simcrop.data.archive import is_safe_name, read_archive, resolve, shared_reports
from simcrop.errors import DataError

VOLUMES = "volume_id,study_id,path\nv1,s1,a.nii.gz\nv2,s2,b.nii.gz\n"
REPORTS = "study_id,patient_id,findings,impression\ns1,p1,Clear lungs.,\ns2,p2,NA,Normal.\n"


def write(folder: Path, **tables: str | bytes) -> Path:
    for name, text in ({"volumes": VOLUMES, "reports": REPORTS} | tables).items():
        content = text.encode() if isinstance(text, str) else text
        (folder / f"{name}.csv").write_bytes(content)
    return folder


def test_tables_are_read_as_text_and_missing_cells_are_empty(tmp_path):
    archive = read_archive(write(tmp_path))
    assert archive.volumes.path.tolist() == ["a.nii.gz", "b.nii.gz"]
    assert archive.reports.impression.tolist() == ["", "Normal."]
    assert archive.reports.findings.tolist() == ["Clear lungs.", "NA"]
    assert archive.labels is archive.masks is archive.anatomy is None


def test_spreadsheet_habits_do_no_harm(tmp_path):
    text = "\ufeffvolume_id, study_id ,path,notes\n007 , s1,a.nii.gz\n"
    archive = read_archive(write(tmp_path, volumes=text))
    assert archive.volumes.iloc[0].tolist() == ["007", "s1", "a.nii.gz", ""]


def test_optional_tables_are_read(tmp_path):
    archive = read_archive(
        write(
            tmp_path,
            labels="study_id,Nodule,Effusion\ns1,1,0.0\ns2,0,1.0\n",
            masks="study_id,sentence,path,value,label\ns1,Clear lungs.,m.nii.gz,1,Nodule\n",
            anatomy="volume_id,path\nv1,organs.nii.gz\n",
            anatomy_names="value,name\n1,lung\n",
        )
    )
    assert archive.labels.to_dict("records")[1] == {"study_id": "s2", "Nodule": 0, "Effusion": 1}
    assert archive.masks.label.tolist() == ["Nodule"]
    assert archive.anatomy_names.name.tolist() == ["lung"]
    header_only = read_archive(write(tmp_path, masks="study_id,sentence,path,value\n"))
    assert len(header_only.masks) == 0


@pytest.mark.parametrize(
    ("table", "text", "found"),
    [
        ("volumes", "volume_id,path\nv1,a\n", "no column study_id"),
        ("volumes", "volume_id;study_id;path\nv1;s1;a\n", "separate them by commas"),
        ("volumes", "", "not a table"),
        ("volumes", 'volume_id,study_id,path\n"v1,s1', "not a table"),
        ("volumes", VOLUMES + "v1,s2,c.nii.gz\n", "volume_id on more than one row: 'v1'"),
        ("reports", REPORTS + "s1,p3,Other.,\n", "study_id on more than one row: 's1'"),
        ("reports", REPORTS + "s3,,Text.,\n", "studies without patient_id: 's3'"),
        ("reports", REPORTS.encode() + b"s3,p3,L\xe9sion.,\n", "not UTF-8"),
        ("labels", "study_id,Nodule\ns1,yes\n", "label \"Nodule\" that are not 0 or 1.*'s1'"),
        ("labels", "study_id,Nodule\ns1,1\ns1,0\n", "study_id on more than one row"),
        (
            "masks",
            "study_id,sentence,path,value\ns1,x,m,one\n",
            "values that are no numbers: 'one'",
        ),
        ("masks", "study_id,path,value\ns1,m,1\n", "neither a column sentence nor a column label"),
    ],
)
def test_ambiguous_tables_are_refused(tmp_path, table, text, found):
    with pytest.raises(DataError, match=found) as error:
        read_archive(write(tmp_path, **{table: text}))
    assert f"{table}.csv" in str(error.value)


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"volumes\.csv: no such table"):
        read_archive(tmp_path)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ("s1,p1,Clear.,,training\n", "splits named: 'training'"),
        ("s1,p1,Clear.,,train\ns2,p1,Clear.,,test\n", "more than one split: 'p1'"),
    ],
)
def test_splits_that_leak_or_have_other_names_are_refused(tmp_path, rows, found):
    reports = "study_id,patient_id,findings,impression,split\n" + rows
    with pytest.raises(DataError, match=found):
        read_archive(write(tmp_path, reports=reports))


def test_paths_lead_below_the_root_then_beside_it_or_anywhere_if_absolute(tmp_path):
    root = tmp_path / "archive"
    (root / "in").mkdir(parents=True)
    (tmp_path / "beside").mkdir()
    assert resolve(root, "in") == root / "in"
    assert resolve(root, "beside") == tmp_path / "beside"
    assert resolve(root, "nowhere") == root / "nowhere"
    assert resolve(root, str(tmp_path / "beside")) == tmp_path / "beside"
    assert read_archive(write(root), root=tmp_path / "x").root == tmp_path / "x"


@pytest.mark.parametrize("name", ["", "..", ".hidden", "a/b", "a\\b", "a b", "x\n", "é", "a" * 300])
def test_names_that_are_no_file_names_are_not_safe(name):
    assert not is_safe_name(name)


def test_usual_identifiers_are_safe():
    assert all(map(is_safe_name, ["train_1_a_1", "1.2.840.113", "LIDC-IDRI-0001", "7"]))


def test_the_real_archive_is_read(shared_data):
    archive = read_archive(shared_data / "archive")
    assert len(archive.volumes) == 7
    assert all(resolve(archive.root, path).exists() for path in archive.volumes.path)


@pytest.mark.parametrize(
    ("table", "text", "kind"),
    [
        ("reports", REPORTS.encode() + b"s3,p3,L\xe9sion.,\n", "wrong_encoding"),
        ("reports", REPORTS + "s1,p3,Other.,\n", "duplicate_identifier"),
        ("volumes", "", "not_a_table"),
        ("volumes", "volume_id,path\nv1,a\n", "missing_column"),
        ("labels", "study_id,Nodule\ns1,yes\n", "unknown_label"),
        (
            "reports",
            "study_id,patient_id,findings,impression,split\ns1,p1,A.,,train\ns2,p1,A.,,val\n",
            "patient_in_two_splits",
        ),
    ],
)
def test_faults_of_tables_have_a_stable_kind(tmp_path, table, text, kind):
    with pytest.raises(DataError) as error:
        read_archive(write(tmp_path, **{table: text}))
    assert error.value.kind == kind


def test_a_measured_report_of_two_patients_is_noticed_and_a_normal_one_is_not():
    measured, normal = "A nodule of 12 mm is seen. " * 7, "Both lungs are clear. " * 20
    rows = [
        ("s1", "p1", measured),
        ("s2", "p1", measured),
        ("s3", "p2", measured + " "),
        ("s4", "p3", normal),
        ("s5", "p4", normal),
        ("s6", "p5", "A nodule of 12 mm."),
    ]
    reports = pd.DataFrame(rows, columns=["study_id", "patient_id", "findings"])
    assert shared_reports(reports) == {"s3": "s1"}
