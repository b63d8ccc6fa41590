"""Every block of README and docs that is marked as runnable runs, and prints what it shows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pages import DOCS, PAGES, Block, blocks, name_of, page_before

RUNNABLE = [page for page in PAGES if any(block.is_run for block in blocks(page))]
TUTORIAL = DOCS / "tutorial" / "first-pre-training.md"


def run_page(page: Path, folder: Path) -> None:
    """Run the marked blocks of a page in a folder."""
    output, names = None, {"__name__": "__main__"}
    for block in blocks(page):
        where = f"{name_of(page)}:{block.line + 1}"
        if block.is_run:
            output = run_block(block, folder, names, where)
        elif block.language == "" and output is not None:
            check_shown(block.text, output, where)
            output = None


def run_block(block: Block, folder: Path, names: dict, where: str) -> str:
    if block.language == "python":
        exec(compile(block.text, where, "exec"), names)
        return ""
    assert block.language == "bash", f"{where}: only bash and python blocks can be run"
    scripts = str(Path(sys.executable).parent)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.text],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{where}:\n{done.stdout}"
    return done.stdout


def check_shown(shown: str, output: str, where: str) -> None:
    for line in shown.splitlines():
        assert line.partition("...")[0].rstrip() in output, f"{where}: {line!r} not in\n{output}"


@pytest.fixture(scope="session")
def tutorial_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the tutorial leaves; other pages must not write into what is there."""
    folder = tmp_path_factory.mktemp("tutorial")
    run_page(TUTORIAL, folder)
    return folder


def test_the_tutorial_runs(tutorial_folder):
    assert (tutorial_folder / "maps" / "1_map.nii.gz").exists()


@pytest.mark.parametrize("page", [page for page in RUNNABLE if page != TUTORIAL], ids=name_of)
def test_the_marked_blocks_run(page, tmp_path, monkeypatch, request):
    if before := page_before(page):
        assert before == TUTORIAL, f"{name_of(page)}: only the tutorial may come before a page"
        for folder in request.getfixturevalue("tutorial_folder").iterdir():
            (tmp_path / folder.name).symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    run_page(page, tmp_path)


def test_a_wrong_block_is_noticed(tmp_path):
    with pytest.raises(AssertionError, match="no-such-option"):
        run_block(Block("bash", "simcrop phantom --no-such-option", True, 0), tmp_path, {}, "page")
    with pytest.raises(AssertionError, match="not in"):
        check_shown("41 prepared, ...\n", "40 prepared, 0 refused", "page")
