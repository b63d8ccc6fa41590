"""`simcrop ground-eval` leaves figures, tables, pictures and a page."""

import json


def test_the_command_leaves_figures_tables_pictures_and_a_page(
    simcrop, tiny_run, phantom_store, tmp_path
):
    out = tmp_path / "out"
    command = ["ground-eval", "-c", tiny_run.folder, "-s", phantom_store.folder, "-o", out]
    result = simcrop(*command, "--part", "all", "--no-edits")
    assert (result.code, result.paths) == (0, [out / "results.json", out / "report.html"])
    assert "position and words" in result.stderr
    written = json.loads((out / "results.json").read_text())
    assert written["figures"]["mean"]["num_sentences"] == written["sets"]["sentences"]["size"]
    assert written["figures"]["faithfulness"] == []
    assert written["settings"]["part"] == "all"
    assert {"hits.png", "example_diffuse_median.png"} <= {path.name for path in out.iterdir()}
    assert "mean of others" in (out / "table.md").read_text()
    page = (out / "report.html").read_text()
    assert page.count("data:image/png") == 7
    refused = simcrop(*command, "--part", "everything")
    assert refused.code == 2
