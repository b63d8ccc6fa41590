"""`simcrop search` prints a table, draws on request and refuses what is no index."""

import pandas as pd
from command_result import assert_refused


def test_search_prints_a_table_and_draws_on_request(
    simcrop, tiny_run, phantom_store, phantom_archive, tmp_path
):
    index = tmp_path / "index"
    embed = ["embed", "-c", tiny_run.folder, "--patches"]
    assert simcrop(*embed, "-s", phantom_store.folder, "-o", index).code == 0
    out = tmp_path / "out"
    result = simcrop("search", index, "Large heart.", "No nodule.", "--limit", 2, "-o", out)
    assert result.code == 0
    lines = result.stdout.splitlines()
    assert lines[0].startswith("query")
    assert len(lines) == 2 + 4
    found = pd.read_csv(out / "found.csv")
    assert found["rank"].tolist() == [1, 2, 1, 2]
    assert all((out / f"{name}_map.nii.gz").exists() for name in ("1_1", "1_2", "2_1", "2_2"))
    assert (out / "2_2_picture.png").stat().st_size > 5000
    by_global = simcrop("search", index, "Large heart.", "--by", "global")
    assert by_global.code == 0
    assert_refused(simcrop("search", index, "..."), 2, "without words")
    assert_refused(simcrop("search", tmp_path, "Large heart."), 1, "no index for search")
    files, path = tmp_path / "files", phantom_archive / "volumes" / "phantom_000003.nii.gz"
    assert simcrop(*embed, "-v", path, "-o", files).code == 0
    of_files = simcrop("search", files, "Large heart.", "-o", tmp_path / "found")
    assert of_files.code == 0
    assert str(path) in of_files.stdout
    assert " of 36" in of_files.stdout
    assert (tmp_path / "found" / "1_1_picture.png").exists()
