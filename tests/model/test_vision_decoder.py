"""The vision decoder against the plain masked autoencoder."""

import pytest
import torch

from reference import networks as reference
from simcrop.geometry import PatchGrid
from simcrop.model.patch_masking import PatchMasking, mask_patches
from simcrop.model.vision_decoder import VisionDecoder

GRID = PatchGrid((8, 12, 10), (2, 4, 2))


def build(depth=2, **settings):
    torch.manual_seed(0)
    return VisionDecoder(GRID, encoder_dim=10, dim=12, depth=depth, heads=3, **settings)


def inputs(dtype=torch.float32):
    draw = torch.Generator().manual_seed(1)
    masking = mask_patches(2, GRID.num_patches, 0.75, draw)
    cls_token = torch.randn(2, 10, generator=draw, dtype=dtype)
    return cls_token, torch.randn(2, 15, 10, generator=draw, dtype=dtype), masking


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_it_equals_the_masked_autoencoder_that_puts_tokens_back(depth):
    decoder, (cls_token, visible_tokens, masking) = build(depth), inputs()
    found = decoder(cls_token, visible_tokens, masking)
    for b in range(2):
        expected = reference.decode_patches(
            decoder, cls_token[b], visible_tokens[b], masking.visible[b].tolist()
        )
        torch.testing.assert_close(found[b], expected[masking.masked[b]], rtol=0, atol=1e-5)


def test_gradients_equal_those_of_the_plain_form():
    decoder, (cls_token, visible_tokens, masking) = build().double(), inputs(torch.float64)
    found = decoder(cls_token, visible_tokens, masking)
    plain = [
        reference.decode_patches(decoder, c, v, i.tolist())[m]
        for c, v, i, m in zip(
            cls_token, visible_tokens, masking.visible, masking.masked, strict=True
        )
    ]
    parameters = list(decoder.parameters())
    of_found = torch.autograd.grad(found.square().sum(), parameters)
    of_plain = torch.autograd.grad(torch.stack(plain).square().sum(), parameters)
    for one, other in zip(of_found, of_plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_predictions_follow_the_order_of_the_masked_indices():
    decoder, (cls_token, visible_tokens, masking) = build().double(), inputs(torch.float64)
    back = PatchMasking(masking.visible.flip(1), masking.masked.flip(1))
    torch.testing.assert_close(
        decoder(cls_token, visible_tokens.flip(1), back),
        decoder(cls_token, visible_tokens, masking).flip(1),
    )


def test_a_batch_gives_what_its_volumes_give_one_by_one():
    decoder, (cls_token, visible_tokens, masking) = build().double(), inputs(torch.float64)
    together = decoder(cls_token, visible_tokens, masking)
    for b in (slice(0, 1), slice(1, 2)):
        alone = PatchMasking(masking.visible[b], masking.masked[b])
        torch.testing.assert_close(decoder(cls_token[b], visible_tokens[b], alone), together[b])


def test_predictions_are_the_voxels_of_the_masked_patches_in_shape():
    decoder, (cls_token, visible_tokens, masking) = build(), inputs()
    found = decoder(cls_token, visible_tokens, masking)
    assert found.shape == (*masking.masked.shape, GRID.patch_voxels)


def test_every_parameter_gets_a_gradient():
    decoder = build()
    decoder(*inputs()).square().sum().backward()
    assert [n for n, p in decoder.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_an_unknown_position_table_is_refused():
    with pytest.raises(ValueError, match="choose one of"):
        build(position="learned")
