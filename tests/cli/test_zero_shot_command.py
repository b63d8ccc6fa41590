"""`simcrop zero-shot` leaves figures and pictures, and refuses a wrong file of prompts."""

import json

from command_result import assert_refused


def test_zero_shot_leaves_figures_and_pictures(simcrop, tiny_run, phantom_store, tmp_path):
    out = tmp_path / "out"
    command = ["zero-shot", "-c", tiny_run.folder, "-s", phantom_store.folder, "-o", out]
    mine = tmp_path / "mine.yaml"
    mine.write_text("Cardiomegaly:\n  positive: [Large heart.]\n  negative: [Normal heart.]\n")
    result = simcrop(*command, "--prompts", mine)
    assert (result.code, result.paths) == (0, [out / "results.json", out / "report.html"])
    assert "without prompts, not scored: Pericardial effusion, " in result.stderr
    written = json.loads((out / "results.json").read_text())
    assert set(written["figures"]) == {"top-k", "global"}
    assert list(written["figures"]["global"]["auroc"]["labels"]) == ["Cardiomegaly"]
    assert written["settings"]["prompts_hash"]
    for name in ("auroc", "roc", "precision_recall", "reliability"):
        assert (out / f"{name}.png").stat().st_size > 5000
    mine.write_text("Cardiomegaly: [Large heart.]\n")
    assert_refused(simcrop(*command, "--prompts", mine), 1, "'Cardiomegaly' has")
