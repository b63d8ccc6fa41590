"""MONAI's masked autoencoder and its pieces, with the same weights.

MONAI keeps LayerNorm's default epsilon of 1e-5 where MAE has 1e-6; the tests set it to ours.
"""

import pytest
import torch
from monai.networks.blocks import PatchEmbeddingBlock
from monai.networks.blocks.pos_embed_utils import build_sincos_position_embedding
from monai.networks.blocks.transformerblock import TransformerBlock
from monai.networks.nets import MaskedAutoEncoderViT
from torch import nn

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


def set_epsilon(module):
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            part.eps = 1e-6


def copy_block(ours: PreNormBlock, theirs: TransformerBlock) -> None:
    with torch.no_grad():
        theirs.attn.qkv.weight.copy_(
            torch.cat([ours.attention.query.weight, ours.attention.key_value.weight])
        )
        theirs.attn.qkv.bias.copy_(
            torch.cat([ours.attention.query.bias, ours.attention.key_value.bias])
        )
    theirs.attn.out_proj.load_state_dict(ours.attention_output.state_dict())
    theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
    theirs.norm2.load_state_dict(ours.mlp_norm.state_dict())
    theirs.mlp.linear1.load_state_dict(ours.mlp[0].state_dict())
    theirs.mlp.linear2.load_state_dict(ours.mlp[2].state_dict())


def copy_patch_embedding(ours: PatchEmbedding, theirs: PatchEmbeddingBlock) -> None:
    linear = theirs.patch_embeddings
    linear = linear[1] if isinstance(linear, nn.Sequential) else linear
    with torch.no_grad():
        linear.weight.copy_(ours.projection.weight.reshape(linear.weight.shape))
        linear.bias.copy_(ours.projection.bias)


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


def copy_masked_autoencoder(encoder, decoder, theirs):
    copy_patch_embedding(encoder.patch_embedding, theirs.patch_embedding)
    with torch.no_grad():
        theirs.cls_token.copy_(encoder.cls_token)
        theirs.mask_tokens.copy_(decoder.mask_token)
        theirs.patch_embedding.position_embeddings.copy_(encoder.position)
        theirs.decoder_pos_embedding.copy_(decoder.position)
    for ours, copied in (
        ([*encoder.blocks, encoder.norm], theirs.blocks),
        ([*decoder.blocks, decoder.norm], theirs.decoder_blocks),
    ):
        for one, other in zip(ours[:-1], copied[:-1], strict=True):
            copy_block(one, other)
        copied[-1].load_state_dict(ours[-1].state_dict())
    theirs.decoder_embed.load_state_dict(decoder.embedding.state_dict())
    theirs.decoder_pred.load_state_dict(decoder.head.state_dict())


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
