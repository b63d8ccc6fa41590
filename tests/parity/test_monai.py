"""MONAI's masked autoencoder and its pieces, with the same weights."""

import pytest
import torch
from monai.networks.blocks import PatchEmbeddingBlock
from monai.networks.blocks.pos_embed_utils import build_sincos_position_embedding
from monai.networks.blocks.transformerblock import TransformerBlock
from monai.networks.nets import MaskedAutoEncoderViT
from monai_weights import (
    copy_block,
    copy_masked_autoencoder,
    copy_patch_embedding,
    set_epsilon,
)

from simcrop.geometry import PatchGrid
from simcrop.model.patch_embedding import PatchEmbedding
from simcrop.model.patch_masking import mask_patches
from simcrop.model.position_embedding import sine_cosine_3d
from simcrop.model.transformer import PreNormBlock
from simcrop.model.vision_decoder import VisionDecoder
from simcrop.model.vision_encoder import VisionEncoder

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")

GRID = PatchGrid((8, 12, 10), (2, 4, 2))
DIM, HEADS = 24, 4
ONE_LAYER = {"rtol": 0, "atol": 1e-5}
NETWORK = {"rtol": 0, "atol": 1e-4}


@pytest.mark.parametrize("kind", ["conv", "perceptron"])
def test_against_monai_patch_embedding(kind):
    torch.manual_seed(0)
    ours = PatchEmbedding(GRID, DIM)
    theirs = PatchEmbeddingBlock(
        1, GRID.crop_shape, GRID.patch_shape, DIM, HEADS, proj_type=kind, pos_embed_type="none"
    )
    copy_patch_embedding(ours, theirs)
    voxels = torch.rand(2, *GRID.crop_shape) * 2 - 1
    torch.testing.assert_close(ours(GRID.cut(voxels)), theirs(voxels[:, None]), **ONE_LAYER)


def test_against_monai_cutting_is_exact():
    theirs = PatchEmbeddingBlock(
        1, GRID.crop_shape, GRID.patch_shape, DIM, HEADS, proj_type="perceptron"
    )
    voxels = torch.rand(2, *GRID.crop_shape)
    assert torch.equal(GRID.cut(voxels), theirs.patch_embeddings[0](voxels[:, None]))


@pytest.mark.parametrize("grid_shape", [(4, 3, 5), (14, 14, 14)])
def test_against_monai_position_table(grid_shape):
    """The same sines and cosines; MONAI starts with the second axis, then first, then third."""
    ours = sine_cosine_3d(grid_shape, 48)
    theirs = build_sincos_position_embedding(list(grid_shape), 48, spatial_dims=3)[0]
    of_second, of_first, of_third = theirs.chunk(3, dim=1)
    torch.testing.assert_close(ours, torch.cat([of_first, of_second, of_third], 1), **ONE_LAYER)


def test_against_monai_transformer_block():
    torch.manual_seed(0)
    ours = PreNormBlock(DIM, HEADS, 4.0)
    theirs = TransformerBlock(DIM, 4 * DIM, HEADS, qkv_bias=True)
    set_epsilon(theirs)
    copy_block(ours, theirs)
    tokens = torch.randn(2, 9, DIM)
    torch.testing.assert_close(ours(tokens), theirs(tokens), **ONE_LAYER)


def test_against_monai_masked_autoencoder(monkeypatch):
    """The whole network: voxels in, predicted voxels of the hidden patches out."""
    torch.manual_seed(0)
    encoder = VisionEncoder(GRID, dim=DIM, depth=3, heads=HEADS)
    decoder = VisionDecoder(GRID, encoder_dim=DIM, dim=30, depth=2, heads=5)
    theirs = MaskedAutoEncoderViT(
        1,
        GRID.crop_shape,
        GRID.patch_shape,
        hidden_size=DIM,
        mlp_dim=4 * DIM,
        num_layers=3,
        num_heads=HEADS,
        decoder_hidden_size=30,
        decoder_mlp_dim=120,
        decoder_num_layers=2,
        decoder_num_heads=5,
        qkv_bias=True,
    )
    set_epsilon(theirs)
    copy_masked_autoencoder(encoder, decoder, theirs)
    masking = mask_patches(2, GRID.num_patches, 0.75, torch.Generator().manual_seed(0))
    chosen = masking.visible.clone()
    monkeypatch.setattr(torch, "multinomial", lambda *_, **__: chosen)
    voxels = torch.rand(2, *GRID.crop_shape) * 2 - 1
    expected, is_masked = theirs(voxels[:, None])
    assert torch.equal(is_masked.bool(), masking.is_masked)
    cls_token, visible_tokens, _ = encoder(GRID.cut(voxels), masking.visible)
    found = decoder(cls_token, visible_tokens, masking)
    for b in range(2):
        torch.testing.assert_close(found[b], expected[b, masking.masked[b]], **NETWORK)
