import json
import re
from pathlib import Path

import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from chest_like import CONTRACT, chest
from synthetic_ct import REPORTS, write_table
from typer.testing import CliRunner

from simcrop.cli.main import app
from simcrop.data.check import HU_EDGES, check
from simcrop.data.prepare import prepare

SETTINGS = ["--set", "volume.spacing_mm=[6,6,9]", "--set", "volume.crop_shape=[48,48,32]",
            "--set", "volume.patch_shape=[8,8,8]", "--recipe", "tiny"]  # fmt: skip


@pytest.fixture
def archive(tmp_path) -> Path:
    """Two good volumes, a truncated one, one without a report, labels, a mask of nothing."""
    folder = tmp_path / "archive"
    folder.mkdir()
    sitk.WriteImage(chest(), str(folder / "good.nii.gz"))
    sitk.WriteImage(sitk.DICOMOrient(chest(), "LAS"), str(folder / "other.nrrd"))
    (folder / "cut.nii.gz").write_bytes((folder / "good.nii.gz").read_bytes()[:2000])
    rows = [("v1", "s1", "good.nii.gz"), ("v2", "s2", "other.nrrd"), ("v3", "s2", "cut.nii.gz"),
            ("v4", "s7", "good.nii.gz")]  # fmt: skip
    write_table(folder / "volumes.csv", "volume_id study_id path", rows)
    write_table(folder / "reports.csv", "study_id patient_id findings impression", REPORTS[:2])
    write_table(folder / "labels.csv", "study_id Emphysema", [("s1", 1), ("s2", 0)])
    return folder


def run(*arguments: object):
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_an_archive_is_judged_as_prepare_judges_it(archive, tmp_path):
    checked = check(archive, CONTRACT)
    summary = prepare(archive, tmp_path / "store", CONTRACT)
    refused = pd.read_csv(tmp_path / "store" / "refused.csv", dtype=str, keep_default_na=False)
    assert len(checked.looks) == summary.num_prepared == 2
    assert pd.DataFrame(checked.refused).to_dict("records") == refused.to_dict("records")
    assert dict(checked.kinds) == {"missing_report": 1, "truncated": 1}
    again = check(tmp_path / "store", CONTRACT)
    assert (again.what, again.refused) == ("store", [])
    for mine, theirs in zip(checked.looks, again.looks, strict=True):
        assert (mine.histogram == theirs.histogram).all()
        assert (mine.spacing_mm, mine.shape) == (theirs.spacing_mm, theirs.shape)
        assert all((a == b).all() for a, b in zip(mine.slices, theirs.slices, strict=True))


def test_a_look_counts_every_second_voxel_and_shows_the_middle(archive):
    look = check(archive, CONTRACT).looks[1]
    assert look.shape == (48, 44, 30)
    assert look.spacing_mm == (6.0, 6.0, 9.0)
    assert look.source_format == "NRRD"
    assert look.histogram.sum() == 24 * 22 * 15
    peaks = HU_EDGES[:-1][look.histogram > 0.1 * look.histogram.sum()]
    assert set(peaks) <= {-1050, -1000, -900, -850, 0, 50}
    assert [part.shape for part in look.slices] == [(48, 44), (48, 30), (44, 30)]
    assert look.slices[0][24, 2] < -900 < look.slices[0][24, 22]


def test_nothing_is_written_into_the_archive_and_processes_agree(archive, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in archive.rglob("*")}
    one, two = check(archive, CONTRACT), check(archive, CONTRACT, workers=2)
    assert one.summary() == two.summary()
    assert {path: path.stat().st_mtime_ns for path in archive.rglob("*")} == before


def test_the_command_writes_page_counts_and_refusals(archive, tmp_path):
    done = run(archive, "-o", tmp_path / "out", "--workers", 1, *SETTINGS)
    assert done.exit_code == 1, done.output
    assert "2 of 4 volumes usable; refused: 1 missing_report, 1 truncated" in done.output
    counts = json.loads((tmp_path / "out" / "check.json").read_text())
    assert counts["refused"] == {"missing_report": 1, "truncated": 1}
    assert (counts["num_studies"], counts["num_patients"]) == (2, 2)
    assert counts["labels"] == {"Emphysema": 0.5}
    page = (tmp_path / "out" / "check.html").read_text()
    for text in ("How they lie", "Refusals", "truncated", "A ball is seen.", "Emphysema"):
        assert text in page
    assert len(re.findall("data:image/png", page)) == 3
    assert not any(row[1] in page for row in REPORTS[:2])  # patients
    assert len(pd.read_csv(tmp_path / "out" / "refused.csv")) == 2


def test_a_clean_store_ends_with_zero_and_a_damaged_one_does_not(archive, tmp_path):
    store = tmp_path / "store"
    prepare(archive, store, CONTRACT)
    assert run(store, "-o", tmp_path / "clean", "--workers", 1).exit_code == 0
    volume = store / "volumes" / "v1.nii"
    volume.write_bytes(volume.read_bytes()[:-100])
    done = run(store, "-o", tmp_path / "damaged", "--workers", 1)
    assert done.exit_code == 1
    assert "1 of 2 volumes usable" in done.output


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("reports.csv", "study_id;patient_id\ns1;p", "missing_column"),
        ("reports.csv", "study_id,patient_id,findings,impression\ns1,p,a,b\ns1,p,a,b\n",
         "duplicate_identifier"),
        ("reports.csv", "study_id,patient_id,findings,impression,split\n"
         "s1,p,a,b,train\ns2,p,a,b,test\n", "patient_in_two_splits"),
        ("labels.csv", "study_id,Emphisema\ns1,1\n", "unknown_label"),
        ("labels.csv", "study_id,Emphysema\ns1,maybe\n", "unknown_label"),
        ("volumes.csv", "\xff\xfev\x00".encode("latin-1"), "wrong_encoding"),
        ("volumes.csv", "", "not_a_table"),
    ],
)  # fmt: skip
def test_a_faulty_table_is_one_refusal_on_the_page(archive, tmp_path, name, content, kind):
    (archive / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    done = run(archive, "-o", tmp_path / "out", *SETTINGS)
    assert done.exit_code == 1
    counts = json.loads((tmp_path / "out" / "check.json").read_text())
    assert counts["refused"] == {kind: 1}
    page = (tmp_path / "out" / "check.html").read_text()
    assert name in page
    assert "expected" in page


def test_a_shared_an_empty_and_a_nan_report_are_refused_study_by_study(archive):
    text = "A nodule of 12 mm is seen in the right upper lobe. " * 6
    reports = [("s1", "Anna", text, ""), ("s2", "Bert", text, ""), ("s3", "Carl", "nan", "")]
    write_table(archive / "reports.csv", "study_id patient_id findings impression", reports)
    rows = [("v1", "s1", "good.nii.gz"), ("v2", "s2", "good.nii.gz"), ("v3", "s3", "good.nii.gz")]
    write_table(archive / "volumes.csv", "volume_id study_id path", rows)
    checked = check(archive, CONTRACT)
    assert [look.volume_id for look in checked.looks] == ["v1"]
    assert dict(checked.kinds) == {"shared_report": 1, "empty_report": 1}


def test_a_folder_that_is_none_is_wrong_usage(tmp_path):
    assert run(tmp_path / "nowhere", "-o", tmp_path / "out").exit_code == 2
