"""Our weights copied into MONAI's masked autoencoder; also used by `benchmarks/pretrain_step.py`.

MONAI keeps LayerNorm's default epsilon of 1e-5 where MAE has 1e-6; `set_epsilon` sets it to ours.
"""

import torch
from monai.networks.blocks import PatchEmbeddingBlock
from monai.networks.blocks.transformerblock import TransformerBlock
from monai.networks.nets import MaskedAutoEncoderViT
from torch import nn

from simcrop.model.patch_embedding import PatchEmbedding
from simcrop.model.transformer import PreNormBlock
from simcrop.model.vision_decoder import VisionDecoder
from simcrop.model.vision_encoder import VisionEncoder


def set_epsilon(module: nn.Module) -> None:
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


def copy_masked_autoencoder(
    encoder: VisionEncoder, decoder: VisionDecoder, theirs: MaskedAutoEncoderViT
) -> None:
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
