"""`simcrop plan`: what it prints, and what it refuses."""

import pytest
from command_result import assert_refused

from simcrop.cli.plan import parse_bytes
from simcrop.train import plan


@pytest.fixture(autouse=True)
def _steps(monkeypatch):
    """Footprints of round numbers, where real ones take a second each."""

    def made_up(config, num_studies, text, *, is_bf16):
        peak = 10**9 + num_studies * 10**8
        return plan.Footprint(peak, 10**8, 3 * 10**8, 0, num_studies * 10**12)

    monkeypatch.setattr(plan, "footprint", made_up)


def test_a_plan_says_memory_work_days_and_storage(simcrop):
    result = simcrop("plan", "tiny", "--memory", "4GB", "--gpus", "2", "--gpu", "A100")
    assert result.code == 0
    lines = {line.split(" ")[0]: line for line in result.stdout.splitlines() if line}
    assert "2 GPU(s), bf16, 24,128 training studies" in lines["recipe"]
    assert "4.3 GB at the peak with 32 studies per GPU" in lines["memory"]
    assert "fits into 4 GB, 1.1 of them kept free: 18 per GPU" in result.stdout
    assert "32.00 TFLOP per batch, 1.00 per study" in lines["work"]
    assert "1,000 of 64 studies" in lines["updates"]
    assert len(lines["A100"].split()) == 6


def test_a_memory_that_not_even_one_study_fits_is_said_to_be_too_small(simcrop):
    result = simcrop("plan", "tiny", "--memory", "1.1GB", "--gpu", "A100")
    assert "not even one study fits into 1.1 GB" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory", "much"], "a size like 80GB"),
        (["--gpu", "Abacus"], "--gpu Abacus; expected of A100"),
        (["--mfu", "0"], "Invalid value for '--mfu'"),
        (["--precision", "fp8"], "--precision fp8; expected bf16 or 32"),
        (["--gpus", "0"], "Invalid value for '--gpus'"),
    ],
)
def test_wrong_usage_is_refused(simcrop, arguments, message):
    assert_refused(simcrop("plan", "tiny", *arguments), 2, message)


def test_more_studies_per_update_than_there_are_is_an_error(simcrop):
    arguments = ("plan", "tiny", "--studies", "10", "--gpu", "A100")
    assert_refused(simcrop(*arguments), 1, "32 studies per update of 10 in all")


def test_gigabytes_are_decimal_and_gibibytes_binary():
    assert parse_bytes("80GB") == parse_bytes("80g") == 80 * 10**9
    assert parse_bytes("24 GiB") == 24 * 2**30
    assert parse_bytes("512MB") == 512 * 10**6
    assert parse_bytes(None) is None
