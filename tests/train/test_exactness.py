"""The whole step against the formulae: every term, the total, and every gradient of each."""

from dataclasses import fields, replace

import pytest
import torch

from reference import whole_step as reference
from simcrop.config import override
from simcrop.data.samples import Batch
from simcrop.model.patch_masking import PatchMasking, mask_patches
from simcrop.model.text_encoder import TextEncoder
from simcrop.recipes import RECIPES
from simcrop.train.networks import build_simcrop
from simcrop.train.pretrain import Pretraining, step_generator

TEXT_DIM, VOCABULARY, TOP_K = 6, 9, 2
SIZE = (
    "volume.crop_shape=[4, 6, 2]",
    "volume.patch_shape=[2, 3, 1]",
    "vision_encoder.dim=6",
    "vision_encoder.depth=1",
    "vision_encoder.heads=2",
    "vision_encoder.mlp_ratio=2.0",
    "vision_decoder.dim=6",
    "vision_decoder.depth=2",
    "vision_decoder.heads=3",
    "fusion.dim=6",
    "fusion.heads=2",
    "fusion.mlp_dim=8",
    "fusion.depth=1",
    "fusion.dropout=0.0",
    "alignment.shared_dim=5",
    f"alignment.top_k={TOP_K}",
    "masking.patch_ratio=0.5",
    "masking.word_variants=1",
    "terms.instance_contrast=true",
    "terms.normalise_patches=false",
    "terms.patch_weight=0.7",
    "terms.alignment_weight=1.3",
    "terms.instance_weight=0.4",
)
WEIGHTS = {"patch_loss": 0.7, "report_loss": 1.0, "alignment_loss": 1.3, "instance_loss": 0.4}


def build(negatives: str, **more: float) -> Pretraining:
    """Networks of two blocks whose norms are not the identity."""
    settings = {"negatives": negatives, **more}
    config = override(
        RECIPES["tiny"], [*SIZE, *(f"alignment.{k}={v}" for k, v in settings.items())]
    )
    torch.manual_seed(0)
    simcrop = build_simcrop(config, text_dim=TEXT_DIM, vocabulary_size=VOCABULARY)
    for part in simcrop.modules():
        if isinstance(part, torch.nn.LayerNorm):
            torch.nn.init.normal_(part.weight, mean=1.0, std=0.2)
            torch.nn.init.normal_(part.bias, std=0.2)
    encoder = TextEncoder("packaged", untrained=True)
    module = Pretraining(config, simcrop, encoder, torch.arange(VOCABULARY), unknown_id=0)
    return module.double()


def make_batch() -> Batch:
    """Three studies: words and sentences are padded, sentences repeat, one report has one."""
    draw = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    is_valid = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]]).bool()
    return Batch(
        study_ids=("a", "b", "c"),
        voxels=normal(3, 4, 6, 2).clamp(-1, 1),
        is_padding=torch.zeros(3, 4, 6, 2, dtype=torch.bool),
        is_body=torch.ones(3, 8, dtype=torch.bool),
        findings_states=normal(3, 6, TEXT_DIM),
        sentence_of_word=torch.tensor([[1, 1, 2, 2, 3, 3], [0, 1, 2, 2, 0, 0], [1, 1, 1, 0, 0, 0]]),
        sentence_keys=torch.tensor([[4, 5, 4], [5, 6, 0], [7, 0, 0]]),
        sentence_weights=torch.tensor([[1.0, 0.5, 2.0], [1.0, 1.5, 1.0], [1.0, 1.0, 1.0]]),
        sentence_is_normal=torch.zeros(3, 3, dtype=torch.bool),
        sentence_is_valid=torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0]]).bool(),
        report_ids=torch.tensor([[1, 2, 3, 4], [5, 6, 7, 0], [8, 1, 0, 0]]),
        masked_ids=torch.zeros(3, 4, dtype=torch.int64),
        is_masked=torch.tensor([[1, 0, 1, 0], [0, 1, 1, 1], [1, 0, 0, 0]]).bool(),
        report_is_valid=is_valid,
        report_states=normal(3, 4, TEXT_DIM),
    )


def as_float32(batch: Batch) -> Batch:
    halves = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return replace(
        batch,
        **{
            name: value.float()
            for name, value in halves.items()
            if isinstance(value, torch.Tensor) and value.dtype == torch.float64
        },
    )


def masking_of(module: Pretraining) -> PatchMasking:
    """The draw of the step, which the reference is told."""
    ratio = module.config.masking.patch_ratio
    return mask_patches(3, module.simcrop.grid.num_patches, ratio, step_generator(0, 0))


def gradients(losses: dict[str, torch.Tensor], module: Pretraining) -> dict[str, torch.Tensor]:
    """Of every parameter, from every loss; zero where a loss does not reach it."""
    names, parameters = zip(*module.simcrop.named_parameters(), strict=True)
    found = {}
    for loss_name, loss in losses.items():
        of_loss = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for name, parameter, value in zip(names, parameters, of_loss, strict=True):
            zero = torch.zeros_like(parameter)
            found[f"{loss_name}: {name}"] = zero if value is None else value
    return found


@pytest.mark.parametrize(
    ("negatives", "more"),
    [("within_report", {}), ("batch", {}), ("per_image", {}), ("per_image", {"whole_share": 0.4})],
)
def test_the_step_agrees_with_the_formulae_in_every_term_and_gradient(negatives, more):
    module, batch = build(negatives, **more), make_batch()
    exact = reference.losses(module, batch, masking_of(module), TOP_K, negatives, **more)
    exact |= gradients(exact, module)
    for name in ("", *(f": {name}" for name, _ in module.simcrop.named_parameters())):
        exact[f"total{name}"] = sum(w * exact[loss + name] for loss, w in WEIGHTS.items())
    exact = {name: value.detach() for name, value in exact.items()}
    assert all(value.any() for name, value in exact.items() if name.startswith("total"))
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        module = module.to(dtype)
        seen = batch if dtype == torch.float64 else as_float32(batch)
        found = module.losses(seen, step_generator(0, 0))
        assert found.keys() == WEIGHTS.keys()
        found["total"] = module.total(found)
        found |= gradients(found, module)
        assert found.keys() == exact.keys()
        for name, value in found.items():
            # Of the largest number that is added up: a sum of terms may be smaller than each.
            added = [name.replace("total", loss) for loss in WEIGHTS]
            scale = max(1.0, *(float(exact[one].abs().max()) for one in added))
            torch.testing.assert_close(
                value, exact[name], rtol=0, atol=tolerance * scale, check_dtype=False, msg=name
            )
