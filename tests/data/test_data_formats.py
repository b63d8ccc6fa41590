"""The example in `docs/explanation/data-formats.md` is prepared, and gives the store it shows."""

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813
from synthetic_ct import write_dicom

from simcrop.data.prepare import prepare
from simcrop.recipes import RECIPES

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "data-formats.md"
BLOCK = re.compile(r"^`(archive|store)/(\S+)`\n\n```\w+\n(.*?)```", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> dict[str, str]:
    return {name: text for where, name, text in BLOCK.findall(PAGE.read_text()) if where == kind}


@pytest.fixture
def store(tmp_path, ct_image) -> Path:
    ct_image.SetSpacing([3 * mm for mm in ct_image.GetSpacing()])  # large enough for the crop
    archive = tmp_path / "archive"
    for folder in ("volumes", "series", "masks"):
        (archive / folder).mkdir(parents=True)
    for name, text in blocks("archive").items():
        (archive / name).write_text(text)
    for path in pd.read_csv(archive / "volumes.csv").path:
        if Path(path).suffix:
            sitk.WriteImage(ct_image, str(archive / path))
        else:
            write_dicom(archive / path, sitk.DICOMOrient(ct_image, "LPS"))
    for path in ("masks/ct_0001.nii.gz", "masks/ct_0001_organs.nii.gz"):
        sitk.WriteImage(ct_image > 0, str(archive / path))
    prepare(archive, tmp_path / "store", RECIPES["paper"].contract())
    return tmp_path / "store"


def test_the_store_of_the_example_is_the_one_shown(store):
    shown = blocks("store")
    assert set(shown) == {path.name for path in store.iterdir() if path.is_file()} - {
        "labels.csv", "anatomy_names.csv",
    }  # fmt: skip
    assert json.loads(shown.pop("contract.json")) == json.loads(
        (store / "contract.json").read_text()
    )
    for name, text in shown.items():
        tables = [pd.read_csv(io.StringIO(t)) for t in (text, (store / name).read_text())]
        for grid in tables[1].get("native_grid", []):  # too long to show
            assert set(json.loads(grid)) == {"shape", "affine"}
        skipped = ["bytes", "native_grid", "series"]
        tables = [table.drop(columns=skipped, errors="ignore") for table in tables]
        pd.testing.assert_frame_equal(*tables)
    assert (store / "labels.csv").read_text() == blocks("archive")["labels.csv"]


def test_the_python_example_runs(store, capsys, monkeypatch):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)
    monkeypatch.chdir(store.parent)
    exec(compile(code, str(PAGE), "exec"), {})
    assert "ct_0002_lung (150, 160, 102) Both lungs are clear." in capsys.readouterr().out
