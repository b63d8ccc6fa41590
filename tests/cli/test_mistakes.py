"""Exit code 2 for wrong usage, 1 for a failure, one clear line for both, never a traceback."""

import pytest
from command_result import assert_refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command"),
        (["prepare", "-o", "x"], "Missing option '--input'"),
        (["phantom", "-o", "x", "--patients", "none"], "Invalid value for '--patients'"),
        (["phantom", "-o", "x", "--patients", "0"], "Invalid value for '--patients'"),
        (["phantom", "-o", "x", "--difficulty", "2"], "Invalid value for '--difficulty'"),
        (["prepare", "-i", "x", "-o", "x", "--val-fraction", "0.8", "--test-fraction", "0.5"],
         "leave nobody to train on"),
        (["pretrain", "tiny", "-o", "x"], "a new run needs --output and --store"),
        (["embed", "-c", "x", "-o", "x"], "give either --store or --volume"),
        (["embed", "-c", "x", "-o", "x", "-s", "x", "-v", "x"], "give either --store or --volume"),
        (["probe", "-c", "x", "-s", "x", "-o", "x", "--fraction", "0"], "shares in (0, 1]"),
        (["probe", "-s", "x", "-o", "x"], "either --checkpoint or --features"),
        (["compare", "x", "-o", "x"], "two or more result folders"),
        (["ground", "-c", "x", "-v", "x", "-o", "x", "--sentence", " "], "without words"),
        (["ground", "-c", "x", "-v", "x", "-o", "x", "--sentence", "A.", "--window", "bone"],
         "expected one of lung, soft"),
        (["demo", "--patients", "3"], "Invalid value for '--patients'"),
    ],
)  # fmt: skip
def test_wrong_usage_gives_exit_code_2(simcrop, arguments, message):
    assert_refused(simcrop(*arguments), 2, message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "-i", "none", "-o", "x", "--recipe", "tiny"], "none"),
        (["prepare", "-i", "none", "-o", "x", "--recipe", "huge"], "recipe 'huge'; expected one"),
        (["pretrain", "huge", "-s", "none", "-o", "x"], "recipe 'huge'"),
        (["pretrain", "tiny", "-s", "none", "-o", "x"], "no readable contract.json"),
        (["pretrain", "tiny", "-s", "none", "-o", "x", "--set", "lr=1"], "expected a field"),
        (["pretrain", "--resume", "none"], "config.yaml cannot be read"),
        (["show", "none"], "none holds no run"),
        (["recipe", "tiny", "--set", "terms.dark=true"], "expected a field"),
        (["embed", "-c", "none", "-v", "none", "-o", "x"], "is no checkpoint"),
        (["probe", "-c", "none", "-s", "none", "-o", "x"], "contract.json"),
        (["ground", "-c", "none", "-v", "x", "-o", "x", "--sentence", "A."], "is no checkpoint"),
    ],
)  # fmt: skip
def test_a_failure_is_one_clear_line_and_exit_code_1(
    simcrop, arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    result = simcrop(*arguments)
    assert_refused(result, 1, message)
    assert result.stderr.startswith("error: ")
    assert [*tmp_path.iterdir()] == []


def test_a_missing_volume_and_an_unknown_device_are_clear_too(simcrop, tiny_run, tmp_path):
    common = ["ground", "-c", tiny_run.folder, "--sentence", "A nodule.", "-o", tmp_path / "x"]
    assert_refused(simcrop(*common, "-v", tmp_path / "none.nii"), 1, "none.nii")
    assert_refused(simcrop(*common, "-v", "x", "--device", "tpu7"), 1, "device 'tpu7'")


def test_a_folder_that_cannot_be_made_is_a_clear_failure(simcrop, tmp_path):
    (tmp_path / "file").write_text("")
    result = simcrop("phantom", "-o", tmp_path / "file" / "x", "--patients", 1, "--workers", 1)
    assert_refused(result, 1, "Not a directory")


def test_an_interrupt_ends_with_130_and_a_word(simcrop, monkeypatch, tmp_path):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("simcrop.data.phantom.write_phantoms", interrupted)
    result = simcrop("phantom", "-o", tmp_path)
    assert result.code == 130
    assert "stopped" in result.stderr
