"""`simcrop demo` with few patients and steps: every file that it promises, on one page."""

import contextlib
import json
import re
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from simcrop.cli.main import main

ENCODERS = {"tiny", "tiny_recommended", "untrained"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """The folder of the smallest demo."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        command = ["simcrop", "demo", "-o", str(folder), "--patients", "40", "--steps", "12"]
        patch.setattr(sys, "argv", command)
        with contextlib.suppress(SystemExit):
            main()
    return folder


@pytest.mark.slow
def test_the_page_stands_alone(demo):
    page = (demo / "report.html").read_text(encoding="utf-8")
    assert "SimCroP on synthetic patients" in page
    assert len(re.findall(r'src="data:image/', page)) >= 5
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", page)
    assert not re.findall(r"url\((?!['\"]?data:)", page)
    assert "<script src" not in page
    for name in ENCODERS:
        assert name in page


@pytest.mark.slow
def test_results_hold_every_figure_with_its_provenance(demo):
    results = json.loads((demo / "results.json").read_text())
    assert set(results) == {
        "encoders",
        "num_patients",
        "num_test",
        "test_set_hash",
        "contract_hash",
        "seed",
        "seconds",
        "versions",
    }
    assert set(results["encoders"]) == ENCODERS
    assert results["num_patients"] == 40
    assert results["num_test"] == 8
    for name, encoder in results["encoders"].items():
        words = set() if name == "untrained" else {"zero_shot", "grounding"}
        assert set(encoder) == {"probe"} | words
        for probe in encoder["probe"].values():
            assert 0 <= probe["auroc"]["mean"]["value"] <= 1
        if words:
            assert {"mean", "labels", "num_left_out", "top_k"} <= set(encoder["grounding"])


@pytest.mark.slow
def test_maps_open_over_the_ct_beside_them(demo):
    maps = sorted((demo / "maps").glob("*_map.nii.gz"))
    assert len(maps) >= 3
    for path in maps:
        values = nibabel.load(path)
        ct = nibabel.load(path.with_name(path.name.replace("_map", "_ct")))
        assert np.abs(values.get_fdata()).max() <= 1 + 1e-6
        centres = [image.affine @ (*(np.array(image.shape) - 1) / 2, 1) for image in (values, ct)]
        spacing = np.abs(np.diag(ct.affine))[:3]
        assert (np.abs(centres[0] - centres[1])[:3] <= 2 * spacing).all()


@pytest.mark.slow
def test_every_run_can_be_loaded_and_grounded(demo):
    import simcrop

    volume = next((demo / "archive" / "volumes").iterdir())
    for name in ("tiny", "tiny_recommended"):
        model = simcrop.load(demo / name)
        assert np.isfinite(model.similarity_map(volume, ["Effusion."]).values).all()


@pytest.mark.slow
def test_a_second_demo_into_the_same_folder_is_refused(demo, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["simcrop", "demo", "-o", str(demo), "--patients", "40"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 1
    assert "is not empty" in capsys.readouterr().err
