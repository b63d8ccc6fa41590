import pytest
import yaml
from pydantic import ValidationError

from simcrop.config import Config, OptimizerConfig, from_mapping, override, read_config
from simcrop.config import write_config as write
from simcrop.errors import ConfigError
from simcrop.recipes import RECIPES

PAPER, TINY = RECIPES["paper"], RECIPES["tiny"]

# Section 10 of the method, written out; the numbers there, not the ones in the code.
PAPER_VALUES = {
    "volume": {
        "spacing_mm": (1.5, 1.5, 3.0),
        "window_hu": (-1000.0, 1000.0),
        "crop_shape": (224, 224, 112),
        "patch_shape": (16, 16, 8),
        "padding": "reflect",
        "interpolation": "linear",
    },
    "augmentation": {
        "crop_scale": (0.8, 1.0),
        "flip_probability": (0.0, 0.2, 0.2),  # D-6: left stays left
        "swap_sides": False,
        "shift_probability": 0.1,
        "shift_range": 0.1,
    },
    "vision_encoder": {
        "dim": 768,
        "depth": 12,
        "heads": 12,
        "mlp_ratio": 4.0,
        "position": "sine_cosine_3d",
        "embedding": "linear",
        "block_shape": (2, 2, 2),  # this and the next three only serve `embedding: cells`
        "cell_shape": (2, 2, 1),
        "cell_dim": 48,
        "levels_hu": (-1000, -900, -800, -650, -450, -200, -80, 10, 60, 150, 300, 700),
        "init": None,  # the authors: MAE blocks, which have to be named
    },
    "vision_decoder": {"dim": 768, "depth": 4, "heads": 16},
    "text": {
        "encoder": "microsoft/BiomedVLP-CXR-BERT-specialized",
        "max_words": 512,
        "long_reports": "window",
        "context": "report",
        "min_pieces": 3,
        "max_sentences": 64,
        "vocabulary": "full",
    },
    "fusion": {
        "dim": 768,
        "heads": 6,
        "mlp_dim": 1536,
        "depth": 6,
        "dropout": 0.1,
        "word_patch": True,
        "instance_level": True,
        "looks_at": "visible",
    },
    "masking": {
        "patch_ratio": 0.75,
        "word_ratio": 0.75,
        "whole_words": False,
        "word_variants": 0,
    },
    "alignment": {
        "top_k": 32,
        "top_k_start": None,
        "top_k_anneal": 0.6,  # unused while top_k_start is None
        "whole_share": 0.0,  # the K patches alone
        "temperature": 0.07,
        "shared_dim": 768,
        "negatives": "within_report",
        "duplicates": "left_out",  # D-1; the authors compare them as strangers
        "candidates": "all",
        "volume_pass": "masked",
        "pass_every": 1,  # unused while volume_pass is masked, and so is the next
        "pass_ratio": 0.0,
        "reach": None,
        "sentence_weights": "equal",
        "reduction": "report",
        "normalise_text": False,
        "standardise": False,
    },
    "terms": {
        "masked_volume": True,
        "masked_report": True,
        "alignment": True,
        "fusion": True,
        "instance_contrast": False,
        "patch_weight": 1.0,
        "report_weight": 1.0,
        "alignment_weight": 1.0,
        "instance_weight": 1.0,  # unused while instance_contrast is off
        "normalise_patches": False,
        "count_padding": False,
        "report_positions": "masked",
    },
    "optimizer": {
        "lr": 1.5e-4,
        "weight_decay": 0.05,
        "betas": (0.9, 0.95),
        "batch_size": 14,  # x 8 accumulated x 4 devices = 448
        "micro_batch": None,
        "accumulate": 8,
        "length": 200,
        "warmup": 20,
        "unit": "epochs",
        "fused": True,
        "clip": None,
        "largest_loss": None,
        "bad_loss": "stop",
    },
    "seed": 42,
}


@pytest.mark.parametrize("section", PAPER_VALUES)
def test_every_value_of_the_paper_recipe_is_that_of_the_method(section):
    values = PAPER.model_dump()[section]
    assert values == PAPER_VALUES[section]


def test_nothing_but_the_text_encoder_differs_between_defaults_and_paper():
    default = Config(name="paper")
    assert override(default, [f"text.encoder={PAPER.text.encoder}"]) == PAPER
    assert set(PAPER.model_dump()) == {*PAPER_VALUES, "name", "trainer"}


@pytest.mark.parametrize("recipe", RECIPES)
def test_yaml_brings_back_the_same_tree(recipe, tmp_path):
    write(RECIPES[recipe], tmp_path / "config.yaml")
    assert read_config(tmp_path / "config.yaml", Config) == RECIPES[recipe]


def test_a_tree_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        PAPER.optimizer.lr = 1.0


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("optimizer.lr=1e-4", 1e-4),
        ("optimizer.lr=2", 2.0),
        ("optimizer.clip=null", None),
        ("optimizer.betas=[0.8, 0.9]", (0.8, 0.9)),
        ("alignment.reach=2", 2),
        ("terms.fusion=false", False),
        ("text.encoder=/somewhere/a=b", "/somewhere/a=b"),
        ("trainer.precision=32", "32"),
        ("trainer.precision=bf16", "bf16"),
        ("volume.crop_shape=[120, 48, 36]", (120, 48, 36)),
    ],
)
def test_a_setting_is_read_as_the_field_means_it(setting, expected):
    section, field = setting.partition("=")[0].split(".")
    changed = override(TINY, [setting])
    value = getattr(getattr(changed, section), field)
    assert value == expected
    assert type(value) is type(expected)
    rest = override(
        changed, [f"{section}.{field}={_as_yaml(getattr(getattr(TINY, section), field))}"]
    )
    assert rest == TINY


def _as_yaml(value) -> str:
    value = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def test_settings_apply_in_order_and_leave_the_recipe_alone():
    changed = override(TINY, ["seed=1", "seed=2"])
    assert changed.seed == 2
    assert TINY.seed == Config(name="x").seed


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optimizer.momentum=1", "--set 'optimizer.momentum=1'; expected a field"),
        ("optimiser.lr=1", "expected a field of the configuration"),
        ("optimizer.lr.peak=1", "expected a field of the configuration"),
        ("optimizer.lr", "expected a field of the configuration"),
        ("optimizer.betas=[0.9", "expected a value as in YAML"),
        ("optimizer.lr=fast", "optimizer.lr: Input should be a valid number"),
        ("optimizer.lr=0", "optimizer.lr: Input should be greater than 0"),
        ("optimizer.lr=", "optimizer.lr: Input should be a valid number"),
        ("optimizer.batch_size=1.5", "optimizer.batch_size: Input should be a valid integer"),
        ("optimizer.betas=[0.9, 1.0]", "optimizer.betas.1: Input should be less than 1"),
        ("alignment.negatives=hard", "alignment.negatives: Input should be 'within_report'"),
        ("optimizer=1", "optimizer: Input should be a valid dictionary"),
        ("fusion.dropout=1", "fusion.dropout: Input should be less than 1"),
        ("seed=-1", "seed: Input should be greater than or equal to 0"),
    ],
)
def test_an_impossible_setting_names_itself_or_its_field(setting, message):
    with pytest.raises(ConfigError) as caught:
        override(TINY, [setting])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["volume.crop_shape=[60, 48, 35]"], "not a whole number of patches"),
        (["volume.window_hu=[100, -100]"], "expected low < high"),
        (
            ["alignment.whole_share=0.5", "alignment.negatives=batch"],
            "whole_share 0.5 with negatives batch",
        ),
        (
            ["vision_encoder.embedding=cells", "vision_encoder.cell_shape=[4, 2, 1]"],
            "cells do not fill a patch",
        ),
        (["vision_encoder.heads=5"], "vision_encoder.dim 64 is no multiple of its 5 heads"),
        (["vision_decoder.heads=5"], "vision_decoder.dim 48 is no multiple of its 5 heads"),
        (["fusion.heads=5"], "fusion.dim 96 is no multiple of its 5 heads"),
        (
            ["fusion.looks_at=embeddings", "terms.alignment=false"],
            "fusion.looks_at=embeddings needs terms.alignment",
        ),
        (["optimizer.warmup=5", "optimizer.length=5"], "optimizer.warmup must be shorter"),
        (["augmentation.crop_scale=[0.9, 0.8]"], "is not (smallest, largest)"),
        (["augmentation.crop_scale=[0.9, 1.1]"], "augmentation.crop_scale.1: Input should be less"),
        (["masking.patch_ratio=0.999"], "masking.patch_ratio hides all"),
        (["fusion.word_patch=false", "fusion.instance_level=false"], "switch terms.fusion off"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings, message):
    small = ["vision_encoder.dim=64", "vision_decoder.dim=48", "fusion.dim=96"]
    with pytest.raises(ConfigError) as caught:
        override(TINY, [*small, *settings])
    assert message in str(caught.value)


@pytest.mark.parametrize("fusion", [True, False])
def test_terms_without_a_loss_are_refused(fusion):
    off = ["terms.masked_volume=false", "terms.masked_report=false", "terms.alignment=false"]
    with pytest.raises(ConfigError, match="terms: no term has a loss; switch on one of"):
        override(TINY, [*off, f"terms.fusion={str(fusion).lower()}"])


def test_every_unknown_missing_or_wrong_field_is_named_by_its_path():
    values = {"volume": {"spacing": 1}, "optimizer": {"lr": "x"}, "extra": 1}
    with pytest.raises(ConfigError) as caught:
        from_mapping(values, "mine.yaml", Config)
    lines = str(caught.value).splitlines()
    assert lines[0] == "mine.yaml:"
    assert {line.split(":")[0].strip() for line in lines[1:]} == {
        "volume.spacing",
        "optimizer.lr",
        "extra",
        "name",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"- 1\n- 2\n", "configuration: Input should be a valid dictionary"),
        (b"", "configuration: Input should be a valid dictionary"),
        (b"name: !!python/object/apply:os.getcwd []", "cannot be read"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(content, message, tmp_path):
    (tmp_path / "mine.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"mine\.yaml") as caught:
        read_config(tmp_path / "mine.yaml", Config)
    assert message in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml cannot be read"):
        read_config(tmp_path / "none.yaml", Config)


def test_the_contract_of_a_tree_holds_its_volume_settings():
    contract = TINY.contract()
    for field in TINY.volume.model_dump():
        assert getattr(contract, field) == getattr(TINY.volume, field)


def test_a_partial_file_takes_the_paper_for_the_rest(tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\noptimizer:\n  lr: 0.001\n")
    config = read_config(tmp_path / "mine.yaml", Config)
    assert config.optimizer == OptimizerConfig(lr=0.001)
    assert config.volume == PAPER.volume
