"""`simcrop segment` from a store and an encoder to labels, figures and a comparison."""

import json

import nibabel
import numpy as np
import pytest
from command_result import assert_refused

import labelled_store as made

QUICK = [
    part
    for setting in (*made.SHORT, "optimizer.length=4", "optimizer.warmup=1")
    for part in ("--set", setting)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("segment")
    made.write_archive(folder / "archive")
    made.prepare_store(folder / "archive", folder / "store")
    made.write_encoder(folder / "encoder")
    return folder


def test_from_encoder_to_labels_and_figures(simcrop, folder):
    run, store = folder / "run", folder / "store"
    trained = simcrop(
        "segment", "train", "segment_tiny", "-c", folder / "encoder", "-s", store, "-o", run,
        "--fraction", "0.5", "--seed", "3", *QUICK,
    )  # fmt: skip
    assert trained.code == 0, trained.stderr
    assert trained.paths == [run / "checkpoint"]
    assert json.loads((run / "run.json").read_text())["segmentation"]["seed"] == 3
    assert_refused(simcrop("segment", "train", "--resume", run, "-o", run), 2, "from the run")

    ct = folder / "archive" / "P7.nii.gz"
    predicted = simcrop("segment", "predict", "-c", run, "-v", ct, "-o", folder / "labels")
    assert predicted.code == 0, predicted.stderr
    labels, picture = predicted.paths
    assert picture.suffix == ".png"
    assert nibabel.load(labels).shape == nibabel.load(ct).shape
    np.testing.assert_allclose(nibabel.load(labels).affine, nibabel.load(ct).affine, atol=1e-4)

    scored = simcrop("segment", "evaluate", "-c", run, "-s", store, "-o", folder / "results")
    assert scored.code == 0, scored.stderr
    assert scored.paths == [folder / "results" / "results.json"]
    assert "left lung" in scored.stderr
    names = {path.name for path in (folder / "results").iterdir()}
    assert {"table.md", "dice.png", "best.png", "worst.png", "items"} <= names


def test_wrong_usage_is_said_in_one_line(simcrop, folder):
    refused = simcrop("segment", "train", "-o", folder / "other")
    assert_refused(refused, 2, "needs --output, --checkpoint and --store")
    assert_refused(simcrop("segment", "evaluate", "-o", folder / "other"), 2, "either")
    missing = simcrop(
        "segment", "predict", "-c", folder / "encoder", "-v", "ct.nii.gz", "-o", folder / "x"
    )
    assert_refused(missing, 1, "holds no segmentation network")
    late = simcrop(
        "segment", "train", "segment", "-c", folder / "encoder", "-s", folder / "store",
        "-o", folder / "other", "--set", "optimizer.length=50",
    )  # fmt: skip
    assert_refused(late, 1, "warmup must be shorter")


def test_recipes_of_segmentation_are_printed(simcrop):
    printed = simcrop("recipe", "segment_luna16", "--set", "optimizer.lr=2e-4")
    assert printed.code == 0
    assert "lr: 0.0002" in printed.stdout
    assert "spacing_mm:\n  - 1.0" in printed.stdout.replace("    -", "  -")
