import pytest
import torch

from simcrop.config import Config, override, write_config
from simcrop.errors import ConfigError
from simcrop.model.patch_masking import mask_patches
from simcrop.model.simcrop import SimCroP
from simcrop.recipes import RECIPES, load_recipe
from simcrop.train.footprint import Step
from simcrop.train.networks import build_simcrop
from simcrop.train.rehearsal import TextLengths

TEXT_DIM = 768


def build_on_meta(config: Config, vocabulary_size: int = 1000) -> SimCroP:
    with torch.device("meta"):
        return build_simcrop(config, text_dim=TEXT_DIM, vocabulary_size=vocabulary_size)


def num_parameters(module) -> int:
    return sum(p.numel() for p in module.parameters())


def block(dim: int, mlp_dim: int) -> int:
    """Attention, MLP and two norms, all with biases."""
    return 4 * (dim * dim + dim) + (dim * mlp_dim + mlp_dim) + (mlp_dim * dim + dim) + 2 * 2 * dim


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_a_possible_tree_under_its_own_name(name):
    recipe = RECIPES[name]
    assert recipe.name == name
    assert Config.model_validate(recipe.model_dump()) == recipe  # copies skip validation


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_has_a_contract_and_networks_that_fit(name):
    recipe = RECIPES[name]
    grid = recipe.contract().patch_grid
    simcrop = build_on_meta(recipe)
    assert simcrop.grid == grid
    visible = mask_patches(1, grid.num_patches, recipe.masking.patch_ratio, torch.Generator())
    assert recipe.alignment.top_k <= visible.visible.shape[1]
    assert recipe.alignment.top_k < grid.num_patches


@pytest.mark.parametrize("name", ["paper", "base"])
def test_the_vision_encoder_of_the_paper_is_vit_b(name):
    simcrop = build_on_meta(RECIPES[name])
    voxels = 16 * 16 * 8
    encoder = (voxels * 768 + 768) + 768 + 12 * block(768, 3072) + 2 * 768
    assert encoder == 86_630_400  # ViT-B/16's 85.6 million plus the 3-D patches
    assert num_parameters(simcrop.vision_encoder) == encoder
    decoder = (768 * 768 + 768) + 768 + 4 * block(768, 3072) + 2 * 768 + (768 * voxels + voxels)
    assert num_parameters(simcrop.vision_decoder) == decoder


def test_the_text_side_of_the_paper_has_one_fusion_layer_and_six_more():
    simcrop = build_on_meta(RECIPES["paper"], vocabulary_size=30522)
    attention, norm, mlp = 4 * (768 * 768 + 768), 2 * 768, 2 * 768 * 1536 + 1536 + 768
    layer = attention + norm + mlp + norm
    head = (768 * 768 + 768) + norm + (768 * 30522 + 30522)
    assert num_parameters(simcrop.text_decoder) == 6 * layer + head
    projection = 2 * (768 * 768 + 768) + 2 * 768
    for part in (
        simcrop.image_projection,
        simcrop.sentence_projection,
        simcrop.report_projection,
    ):
        assert num_parameters(part) == projection


def test_a_switched_off_term_has_no_parameters():
    def names(**terms: bool) -> set[str]:
        settings = [f"terms.{name}={str(on).lower()}" for name, on in terms.items()]
        simcrop = build_on_meta(override(RECIPES["tiny"], settings))
        return {name for name, part in simcrop.named_children() if num_parameters(part)}

    whole = names()
    assert whole - names(masked_volume=False) == {"vision_decoder"}
    assert whole - names(fusion=False) == {"fusion"}
    assert whole - names(alignment=False) == {"image_projection", "sentence_projection"}
    assert whole - names(masked_report=False) == {"fusion", "text_decoder", "report_projection"}


@pytest.mark.parametrize(
    ("name", "other"),
    [("base", "paper"), ("base_recommended", "paper"), ("tiny_recommended", "tiny")],
)
def test_recommendations_change_the_method_but_not_the_size(name, other):
    mine, theirs = RECIPES[name], RECIPES[other]
    assert mine.contract().patch_grid == theirs.contract().patch_grid
    networks = [build_on_meta(recipe) for recipe in (mine, theirs)]
    may_differ = {"vision_encoder"}
    if mine.alignment.standardise:
        may_differ |= {"image_projection"}
    if mine.fusion.looks_at != theirs.fusion.looks_at:
        may_differ |= {"fusion"}
    parts = {name for name, _ in networks[0].named_children()} - may_differ
    for part in (*parts, "vision_encoder.blocks"):  # patches may be embedded by cells
        one, other = (num_parameters(network.get_submodule(part)) for network in networks)
        assert one == other, part
    assert mine.alignment.negatives == "per_image"
    assert theirs.alignment.negatives == "within_report"


def test_the_recommended_siblings_differ_from_the_papers_form_by_the_same_settings():
    def changed(name: str, other: str) -> dict[str, object]:
        mine, theirs = (RECIPES[one].model_dump() for one in (name, other))
        return {
            f"{section}.{field}": mine[section][field]
            for section in ("vision_encoder", "text", "fusion", "alignment", "terms", "masking")
            for field in mine[section]
            if mine[section][field] != theirs[section][field]
        }

    base, tiny = changed("base_recommended", "paper"), changed("tiny_recommended", "tiny")
    assert (base.pop("alignment.top_k_start"), tiny.pop("alignment.top_k_start")) == (2744, 120)
    assert tiny.pop("alignment.whole_share") == 0.5  # not of as small patches as base has
    assert base == tiny
    assert len(base) == 11


@pytest.mark.parametrize("name", ["paper", "base", "base_recommended"])
def test_a_step_of_the_papers_recipes_reaches_every_parameter(name):
    smaller = [
        "volume.crop_shape=[48,48,24]",
        *("vision_encoder.dim=48", "vision_encoder.depth=2", "vision_decoder.dim=48"),
        *("fusion.dim=24", "fusion.mlp_dim=24", "fusion.depth=1", "alignment.shared_dim=24"),
        "text.encoder=packaged",
    ]
    step = Step(override(RECIPES[name], smaller), 3, TextLengths(20, 20, 4), is_bf16=False)
    step()
    parameters = dict(step.module.simcrop.named_parameters())
    assert {n for n, p in parameters.items() if p.grad is None or not p.grad.any()} == set()
    assert all(p.isfinite().all() for p in parameters.values())


def test_recipes_for_tests_and_demo_need_no_network():
    assert RECIPES["tiny"].text.encoder == RECIPES["tiny_recommended"].text.encoder == "packaged"


def test_a_recipe_is_found_by_name_and_by_file(tmp_path):
    changed = override(RECIPES["tiny"], ["seed=7"])
    write_config(changed, tmp_path / "mine.yaml")
    assert load_recipe("tiny") is RECIPES["tiny"]
    assert load_recipe(str(tmp_path / "mine.yaml")) == changed


@pytest.mark.parametrize("name", ["huge", "huge.yaml", "."])
def test_what_is_neither_recipe_nor_file_is_refused(name):
    with pytest.raises(ConfigError, match=r"huge|cannot be read"):
        load_recipe(name)
