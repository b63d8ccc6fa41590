"""The benchmark of the training step at a size that takes no time: all contestants are one."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

import pretrain_contestants as contestants
import pretrain_step
import pretrain_whole_step as whole
from pretrain_contestants import Size

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")

TINY = Size((16, 24, 20), (4, 8, 4), (24, 2, 4), (32, 2, 4), batch=2)


@pytest.fixture
def in_this_process(monkeypatch):
    """Measure here, where a fresh process would import everything again."""
    monkeypatch.setattr(torch, "multinomial", torch.multinomial)  # MONAI's is replaced
    monkeypatch.setattr(pretrain_step, "in_process", lambda work, *arguments: work(*arguments))
    monkeypatch.setattr(pretrain_step, "reset_peak", lambda: 0.0)  # this process has more memory
    monkeypatch.setattr(pretrain_step, "SQUARE", 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.parametrize("name", pretrain_step.PEERS[1:])
def test_every_contestant_has_our_loss_before_and_after_an_update(name, in_this_process):
    theirs, ours = contestants.build(name, TINY), contestants.build("ours", TINY)
    found, expected = [[one.step() for _ in range(3)] for one in (theirs, ours)]
    assert found == pytest.approx(expected, abs=1e-6)
    assert expected[2] < expected[0]


def test_the_table_has_every_bar_of_the_peers_at_full_size_alone(in_this_process, monkeypatch):
    entries = {one: (contestants.build, one, TINY) for one in pretrain_step.PEERS}
    results = pretrain_step.compete(entries, 1, 2)
    monkeypatch.setattr(pretrain_step, "compete", lambda *_: results)
    rows = pretrain_step.peer_rows("tiny", TINY, threads=1, rounds=2)
    bars = [row[2] for row in rows if row[2]]
    assert bars == [">= 2.5", ">= 2.5", "<= 1", ">= 0.65", "<= 0.4", "<= 0.4", "<= 1e-06"]
    assert {row[3] for row in rows if row[2]} <= {"yes", "**no**"}
    smaller = pretrain_step.peer_rows("tiny", TINY, threads=1, rounds=2, has_bars=False)
    assert [row[:2] for row in smaller] == [row[:2] for row in rows]
    assert not any(row[2] for row in smaller)
    equal = next(row for row in rows if "largest difference of losses, update 0" in row[0])
    assert equal[3] == "yes"


@pytest.mark.parametrize("rows_of", [pretrain_step.step_rows, pretrain_step.option_rows])
def test_step_and_options_take_the_threads_that_are_named_and_say_so(rows_of, monkeypatch):
    def compete(entries: dict, threads: int, rounds: int) -> dict[str, list[pretrain_step.Result]]:
        return {name: [pretrain_step.Result((1.0, 1.0), threads, 1.0, 1.0)] for name in entries}

    monkeypatch.setattr(pretrain_step, "compete", compete)
    for threads in (1, 2):
        rows = rows_of("small", threads, rounds=1)
        assert all(f", {threads} thread(s): " in row[0] for row in rows)
        assert rows[-1][1].startswith(f"{threads}.00 CPU s")


def test_the_work_of_a_step_is_that_of_its_matrix_products():
    """1,223 GFLOP at the paper's size with a decoder of 8 x 512: by arithmetic, section by section.

    Backward is twice forward, but the embedding needs no gradient of the voxels.
    """
    tokens, visible, hidden = 2744, 686, 2058
    encoder = 12 * (24 * (visible + 1) * 768**2 + 4 * (visible + 1) ** 2 * 768)
    layer = 24 * (tokens + 1) * 512**2 + 4 * (tokens + 1) ** 2 * 512
    ends = 2 * (visible + 1) * 768 * 512
    embedding, head = 2 * tokens * 2048 * 768, 2 * (tokens + 1) * 512 * 2048
    plain = 3 * (encoder + 8 * layer + ends + head) + 2 * embedding
    assert pretrain_step.flops(pretrain_step.SIZES["8x512"], "plain") == pytest.approx(
        plain, rel=1e-3
    )
    assert plain == pytest.approx(1223e9, rel=2e-3)
    spared = 3 * (embedding * 0.75 / 1.5 + (visible + 1) / (tokens + 1) * (head + layer * 5 / 6))
    ours = pretrain_step.flops(pretrain_step.SIZES["8x512"], "ours")
    assert hidden + visible == tokens
    assert plain > ours == pytest.approx(plain - spared, rel=0.01)


def test_gathering_patches_gives_the_loss_of_the_matrix_product():
    torch.manual_seed(0)
    patches, sentences = torch.randn(2, 40, 8), torch.randn(2, 5, 8)
    one, other = (whole.align(patches, sentences, how) for how in ("product", "gather"))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
