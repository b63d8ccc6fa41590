"""Foreign weights: the authors' encoder gives the same features, MAE's blocks start a training."""

import json
from argparse import Namespace

import pytest
import torch
from foreign_weights import (
    DEPTH,
    DIM,
    GRID,
    HEADS,
    PHOTOGRAPHS,
    TINY,
    authors_features,
    authors_weights,
    pretraining_file,
    timm_names,
)
from safetensors.torch import save_file
from typer.testing import CliRunner

from simcrop.cli.main import app
from simcrop.config import override
from simcrop.errors import CheckpointError, ConfigError
from simcrop.model.convert import from_authors, prefix_of, recognise_positions
from simcrop.model.position_embedding import sine_cosine_3d, two_axis
from simcrop.recipes import RECIPES
from simcrop.train.checkpoint import initialise_encoder, load_checkpoint
from simcrop.train.convert import convert, read_tensors
from simcrop.train.networks import build_encoder
from simcrop.train.pretrained import load
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder

PAPER_GRID = override(
    RECIPES["paper"],
    [f"vision_encoder.{name}" for name in (f"dim={DIM}", "depth=1", f"heads={HEADS}")],
)


def saved(folder, content, name="authors.pth"):
    path = folder / name
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("table", "config"),
    [("two_axis", TINY), ("sine_cosine_3d", TINY), ("stored", TINY), ("two_axis", PAPER_GRID)],
    ids=["two_axis", "sine_cosine_3d", "stored", "the_papers_2745_rows"],
)
def test_the_authors_encoder_gives_their_features(tmp_path, table, config):
    content, grid = authors_weights(table, config), config.contract().patch_grid
    names = content["model"].keys()
    path = saved(tmp_path, content)
    transfer = convert(path, "authors", config, tmp_path / "ours")
    assert transfer.position == table
    assert set(transfer.used) == timm_names(config.vision_encoder.depth).keys()
    assert transfer.unused == tuple(sorted(names - set(transfer.used)))
    assert {"decoder_blocks.0.attn.qkv.weight", "mask_token"} < set(transfer.unused)
    assert transfer.missing == ()
    model = load(tmp_path / "ours")
    assert model.feature == "pre_norm_gap"
    voxels = torch.rand(2, *grid.crop_shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        found = model.simcrop.vision_encoder(grid.cut(voxels)).before_norm.mean(dim=1)
        expected = authors_features(content["model"], voxels)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.01


def test_a_converted_checkpoint_embeds_and_has_an_untrained_twin(tmp_path):
    convert(saved(tmp_path, authors_weights()), "authors", TINY, tmp_path / "ours")
    model = load(tmp_path / "ours")
    twin = model.untrained()
    assert twin.simcrop.vision_encoder.position.equal(model.simcrop.vision_encoder.position)
    assert not twin.simcrop.vision_encoder.cls_token.equal(model.simcrop.vision_encoder.cls_token)
    with pytest.raises(CheckpointError, match="share no space"):
        model.embed_sentences(["Nodule."])


def test_two_axis_positions_are_recognised_among_others():
    assert recognise_positions(two_axis(GRID.shape, DIM), GRID) == "two_axis"
    assert recognise_positions(sine_cosine_3d(GRID.shape, DIM), GRID) == "sine_cosine_3d"
    assert recognise_positions(two_axis(GRID.shape, DIM) + 0.01, GRID) == "stored"


@pytest.mark.parametrize("prefix", ["", "module.", "vision.encoder."])
def test_prefixes_are_found(prefix):
    content = pretraining_file(timm_names())["model"]
    weights = {prefix + name: w for name, w in content.items()}
    assert prefix_of(weights) == prefix
    assert from_authors(weights, GRID).missing == ()


def test_the_norm_may_be_missing_and_is_said(tmp_path):
    weights = {n: w for n, w in authors_weights()["model"].items() if not n.startswith("norm.")}
    transfer = convert(saved(tmp_path, weights), "authors", TINY, tmp_path / "ours")
    assert transfer.missing == ("norm.weight", "norm.bias")
    norm = load_checkpoint(tmp_path / "ours").simcrop.vision_encoder.norm
    assert norm.weight.eq(1).all()


def mae_file(folder):
    """Blocks of a 2-D MAE; kernel and positions are those of photographs."""
    return saved(folder, {"model": timm_names(**PHOTOGRAPHS)}, "mae.pth")


def test_mae_of_pre_training_gives_what_the_encoder_alone_gives(tmp_path):
    whole = pretraining_file(timm_names(**PHOTOGRAPHS))
    transfer = convert(saved(tmp_path, whole), "mae", TINY, tmp_path / "whole")
    alone = convert(mae_file(tmp_path), "mae", TINY, tmp_path / "alone")
    assert transfer.used == alone.used
    assert set(transfer.unused) - set(alone.unused) == whole["model"].keys() - timm_names().keys()
    assert all(tensor.equal(alone.tensors[name]) for name, tensor in transfer.tensors.items())


def test_mae_gives_blocks_and_norm_and_no_more(tmp_path):
    transfer = convert(mae_file(tmp_path), "mae", TINY, tmp_path / "mae")
    assert set(transfer.unused) == {
        "cls_token",
        "pos_embed",
        "patch_embed.proj.weight",
        "patch_embed.proj.bias",
    }
    with pytest.raises(CheckpointError, match="only parts of an encoder"):
        load(tmp_path / "mae")
    torch.manual_seed(3)
    encoder = build_encoder(TINY)
    before = {name: t.clone() for name, t in encoder.state_dict().items()}
    untouched = initialise_encoder(encoder, tmp_path / "mae")
    after = encoder.state_dict()
    unchanged = {name for name in before if before[name].equal(after[name])}
    assert unchanged == set(untouched)
    source = timm_names(**PHOTOGRAPHS)
    assert after["blocks.1.attention.query.weight"].equal(source["blocks.1.attn.qkv.weight"][:DIM])
    assert after["blocks.1.attention.key_value.bias"].equal(source["blocks.1.attn.qkv.bias"][DIM:])


class Opaque:
    """What a pickle could run."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Opaque(), "cannot be read"),
        (pretraining_file({}) | {"args": Namespace(inner=Opaque())}, "cannot be read"),
        ({"epoch": 3}, "no named tensors"),
        (Namespace(model={}), "no named tensors"),
        ({"decoder_blocks.0.attn.qkv.weight": torch.zeros(2)}, "0 tensors are named"),
        (timm_names(kernel=(1, 16, 16, 16)), r"shape \(64, 1, 16, 16, 16\)"),
        (timm_names(rows=217), "pos_embed has 217 rows"),
        (timm_names(depth=DEPTH + 1), f"blocks.{DEPTH}.*has no place"),
        (timm_names(depth=DEPTH - 1), f"fewer than {DEPTH} blocks"),
    ],
    ids=[
        "code",
        "code_in_args",
        "no_tensors",
        "no_dictionary",
        "no_encoder",
        "patch",
        "grid",
        "deeper",
        "shallower",
    ],
)
def test_files_that_do_not_fit_are_refused_by_name(tmp_path, content, message):
    path = saved(tmp_path, content)
    with pytest.raises(CheckpointError, match=message) as caught:
        convert(path, "authors", TINY, tmp_path / "ours")
    assert str(path) in str(caught.value)
    assert not (tmp_path / "ours").exists()


def test_damaged_files_are_refused(tmp_path):
    whole = saved(tmp_path, authors_weights()).read_bytes()
    for name, content in {"cut.pth": whole[:1000], "empty.pt": b"", "x.safetensors": b"{}"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_tensors(tmp_path / name)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tensors(tmp_path / "absent.pth")


def test_safetensors_are_read_too(tmp_path):
    save_file(timm_names(), tmp_path / "w.safetensors")
    assert read_tensors(tmp_path / "w.safetensors").keys() == timm_names().keys()


def test_the_command_names_every_key(tmp_path):
    path = saved(tmp_path, authors_weights())
    command = ["convert", str(path), "-o", str(tmp_path / "ours"), "--recipe", "tiny"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    for name in authors_weights()["model"]:
        assert name in result.stderr
    assert "ignores depth" in result.stderr
    assert result.stdout.strip() == str(tmp_path / "ours")
    origin = json.loads((tmp_path / "ours" / "config.json").read_text())["origin"]
    assert origin["file"] == "authors.pth"
    assert len(origin["sha256"]) == 64


def test_training_refuses_a_stored_position_table(tmp_path, phantom_store):
    config = override(TINY, ["vision_encoder.position=stored"])
    with pytest.raises(ConfigError, match="comes with converted weights"):
        pretrain(config, phantom_store, RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_training_starts_from_the_named_encoder(tmp_path, phantom_store):
    convert(mae_file(tmp_path), "mae", TINY, tmp_path / "mae")
    settings = ["optimizer.length=1", "optimizer.warmup=0", "optimizer.lr=1e-9"]
    config = override(TINY, [*settings, f"vision_encoder.init={tmp_path / 'mae'}"])
    pretrain(config, phantom_store, RunFolder(tmp_path / "run"))
    encoder = load_checkpoint(tmp_path / "run").simcrop.vision_encoder
    expected = timm_names(**PHOTOGRAPHS)["blocks.0.mlp.fc1.weight"]
    torch.testing.assert_close(encoder.blocks[0].mlp[0].weight.data, expected)
