"""`simcrop retrieve` leaves figures of named pools."""

import json

from command_result import assert_refused

from simcrop.evaluate.results import read_result


def test_retrieve_names_its_pools(simcrop, tiny_run, phantom_store, tmp_path):
    out, pool = tmp_path / "out", tmp_path / "first.txt"
    studies = [phantom_store.study_of(v) for v in phantom_store.volume_ids("train")[:4]]
    pool.write_text("\n".join(studies) + "\n\n")
    command = ["retrieve", "-c", tiny_run.folder, "-s", phantom_store.folder, "-o", out]
    result = simcrop(*command, "--part", "train", "--pool", pool)
    assert (result.code, result.paths) == (0, [out / "results.json", out / "report.html"])
    assert "first, top-k" in result.stderr
    written = json.loads((out / "results.json").read_text())
    assert written["sets"]["first"]["size"] == 4
    assert set(written["sets"]) == {"studies", "first"}  # no two phantoms have the same report
    assert "sentence to volume" in (out / "table.md").read_text()
    assert (out / "recall.png").exists()
    found = read_result(out).items
    assert [(one.model, one.measure, len(one.item_ids)) for one in found] == [
        ("top-k", "recall at 10", len(phantom_store.volume_ids("train"))),
        ("global", "recall at 10", len(phantom_store.volume_ids("train"))),
    ]
    assert_refused(simcrop(*command, "--pool", tmp_path / "none.txt"), 1, "cannot be read")
