"""Checkpoints come back exactly, and every fault of one is a single clear CheckpointError."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from simcrop.config import Config
from simcrop.errors import CheckpointError
from simcrop.train.checkpoint import load_checkpoint, save_checkpoint
from simcrop.train.networks import build_simcrop
from tiny_run import tiny


@pytest.fixture
def folder(tiny_run, tmp_path) -> Path:
    """A copy of the checkpoint that a test may spoil."""
    return Path(shutil.copytree(tiny_run.checkpoint, tmp_path / "copy"))


def save(folder: Path, config: Config, vocabulary=(0, 5, 7)):
    simcrop = build_simcrop(config, text_dim=12, vocabulary_size=len(vocabulary))
    save_checkpoint(
        folder,
        simcrop.state_dict(),
        config,
        vocabulary=torch.tensor(vocabulary),
        text_dim=12,
        text_fingerprint="abc",
        step=3,
    )
    return simcrop


def edit_description(folder: Path, **changes) -> None:
    path = folder / "config.json"
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: v for name, v in values.items() if v is not None}))


def edit_tensors(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    "settings",
    [
        [],
        ["terms.alignment=false"],
        ["terms.masked_report=false"],
        ["terms.masked_volume=false", "terms.fusion=false"],
        ["alignment.normalise_text=true", "vision_encoder.position=two_axis"],
        ["alignment.standardise=true", "fusion.looks_at=embeddings"],
    ],
    ids=" ".join,
)
def test_what_was_saved_comes_back_exactly(settings, tmp_path):
    config = tiny(*settings)
    simcrop = save(tmp_path, config)
    loaded = load_checkpoint(tmp_path)
    expected, found = simcrop.state_dict(), loaded.simcrop.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert loaded.config == config
    assert loaded.vocabulary.tolist() == [0, 5, 7]
    assert loaded.text_fingerprint == "abc"
    assert loaded.step == 3
    assert not loaded.simcrop.training


@pytest.mark.parametrize(
    ("settings", "feature"),
    [
        ([], "post_norm_gap"),
        (["alignment.reach=1"], "post_norm_gap"),
        (["alignment.reach=0"], "aligned_max"),
        (["alignment.reach=0", "terms.alignment=false"], "post_norm_gap"),
    ],
)
def test_largest_values_stand_for_volumes_whose_patches_speak_alone(settings, feature, tmp_path):
    save(tmp_path, tiny(*settings))
    assert load_checkpoint(tmp_path).feature == feature


def test_a_checkpoint_that_names_no_feature_keeps_the_mean_token(tmp_path):
    save(tmp_path, tiny("alignment.reach=0"))
    edit_description(tmp_path, feature=None)
    assert load_checkpoint(tmp_path).feature == "post_norm_gap"


def test_saving_again_replaces_both_files(tmp_path):
    save(tmp_path, tiny("seed=1"))
    simcrop = save(tmp_path, tiny("seed=2"))
    loaded = load_checkpoint(tmp_path)
    assert loaded.config.seed == 2
    name = "vision_encoder.cls_token"
    assert torch.equal(loaded.simcrop.state_dict()[name], simcrop.state_dict()[name])
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}


def test_a_run_folder_stands_for_its_checkpoint(tiny_run):
    by_run, by_folder = load_checkpoint(tiny_run.folder), load_checkpoint(tiny_run.checkpoint)
    assert by_run.step == by_folder.step == 24
    assert torch.equal(by_run.vocabulary, by_folder.vocabulary)


def test_the_description_names_contract_encoder_and_versions(tiny_run, text_encoder):
    description = json.loads((tiny_run.checkpoint / "config.json").read_text())
    config = Config.model_validate(description["config"])
    assert description["contract"] == config.contract().to_dict()
    assert description["contract_hash"] == config.contract().hash
    assert description["text_encoder"] == {
        "name": "packaged",
        "dim": text_encoder.dim,
        "fingerprint": text_encoder.fingerprint(),
    }
    assert {"simcrop", "python", "torch", "lightning"} <= description["versions"].keys()


def test_nothing_in_a_checkpoint_is_pickled(tiny_run):
    for path in tiny_run.checkpoint.iterdir():
        with pytest.raises((pickle.UnpicklingError, ValueError, EOFError, KeyError, IndexError)):
            pickle.loads(path.read_bytes())


def test_a_pickle_under_the_name_of_the_weights_is_not_loaded(folder):
    class Harm:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    (folder / "model.safetensors").write_bytes(pickle.dumps(Harm()))
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        load_checkpoint(folder)
    torch.save({"harm": Harm()}, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        load_checkpoint(folder)


def test_every_tensor_that_is_missing_foreign_or_misshaped_is_named(folder):
    def change(tensors) -> None:
        del tensors["vision_encoder.cls_token"]
        tensors["head.weight"] = torch.zeros(1)
        tensors["vision_encoder.norm.bias"] = torch.zeros(3)

    edit_tensors(folder, change)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    message = str(caught.value)
    assert "missing: vision_encoder.cls_token" in message
    assert "unexpected: head.weight" in message
    assert "shape of vision_encoder.norm.bias: (3,), expected (64,)" in message


def test_a_lost_vocabulary_is_a_fault(folder):
    edit_tensors(folder, lambda tensors: tensors.pop("vocabulary"))
    with pytest.raises(CheckpointError, match="missing: vocabulary"):
        load_checkpoint(folder)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights_are_refused(folder, share):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        load_checkpoint(folder)


def test_missing_files_are_refused(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        load_checkpoint(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        load_checkpoint(folder)
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        load_checkpoint(folder / "nowhere")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '"text"', '{"model_type": "vit"}'])
def test_a_foreign_folder_is_refused(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"is no checkpoint|is not ours"):
        load_checkpoint(folder)


def test_another_format_is_refused(folder):
    edit_description(folder, format=99)
    with pytest.raises(CheckpointError, match=r"has format 99; expected format 1"):
        load_checkpoint(folder)


@pytest.mark.parametrize("changes", [{"text_encoder": {}}, {"text_encoder": 3}, {"step": None}])
def test_an_incomplete_description_is_refused(folder, changes):
    edit_description(folder, **changes)
    with pytest.raises(CheckpointError, match="is not ours"):
        load_checkpoint(folder)


def test_a_configuration_of_another_version_is_refused_by_field(folder):
    config = json.loads((folder / "config.json").read_text())["config"]
    config["alignment"]["negatives"] = "hardest"
    config["novelty"] = 1
    edit_description(folder, config=config)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(folder)
    assert "alignment.negatives" in str(caught.value)
    assert "novelty" in str(caught.value)
    assert "another version" in str(caught.value)


def test_weights_of_another_configuration_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())["config"]
    config["vision_encoder"]["depth"] += 1
    edit_description(folder, config=config)
    with pytest.raises(CheckpointError, match=r"missing: vision_encoder\.blocks"):
        load_checkpoint(folder)


def test_a_contract_that_is_not_the_configurations_is_refused_by_field(folder):
    contract = json.loads((folder / "config.json").read_text())["contract"]
    edit_description(folder, contract=contract | {"window_hu": [-500.0, 500.0]})
    with pytest.raises(CheckpointError, match="window_hu"):
        load_checkpoint(folder)
    edit_description(folder, contract=contract | {"mood": "good"})
    with pytest.raises(CheckpointError, match="unknown contract fields mood"):
        load_checkpoint(folder)


def test_sentences_that_are_split_otherwise_since_the_training_are_said(folder, caplog):
    contract = json.loads((folder / "config.json").read_text())["contract"]
    edit_description(folder, contract=contract | {"sentence_rule": "simcrop 0"})
    load_checkpoint(folder)
    assert "simcrop 0 there" in caplog.text
