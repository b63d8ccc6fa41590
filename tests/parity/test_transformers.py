"""Hugging Face transformers with the same weights: BERT, its masked-word loss, and ViT-MAE."""

import pytest
import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM, ViTMAEConfig, ViTMAEForPreTraining
from transformers.models.bert.modeling_bert import BertLayer

from simcrop.geometry import PatchGrid
from simcrop.model.fusion import FusionLayer
from simcrop.model.patch_masking import PatchMasking, gather
from simcrop.model.text_decoder import TextDecoder
from simcrop.model.transformer import PostNormAttention, PostNormMLP, PreNormBlock
from simcrop.model.vision_decoder import VisionDecoder
from simcrop.model.vision_encoder import VisionEncoder
from simcrop.objectives.reconstruction import patch_loss
from simcrop.objectives.report_modelling import counted_words, report_loss

DIM, HEADS, VOCABULARY = 24, 4, 37
ONE_LAYER = {"rtol": 0, "atol": 1e-5}
NETWORK = {"rtol": 0, "atol": 1e-4}


def bert_config(**settings):
    return BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=DIM,
        num_hidden_layers=3,
        num_attention_heads=HEADS,
        intermediate_size=40,
        max_position_embeddings=32,
        attn_implementation="eager",
        **settings,
    )


def copy_linear(ours: nn.Linear, *theirs: nn.Linear) -> None:
    """Stack one or more of their linear layers into one of ours."""
    with torch.no_grad():
        ours.weight.copy_(torch.cat([layer.weight for layer in theirs]))
        ours.bias.copy_(torch.cat([layer.bias for layer in theirs]))


def copy_bert_attention(ours: PostNormAttention, theirs: nn.Module) -> None:
    copy_linear(ours.attention.query, theirs.self.query)
    copy_linear(ours.attention.key_value, theirs.self.key, theirs.self.value)
    copy_linear(ours.output, theirs.output.dense)
    ours.norm.load_state_dict(theirs.output.LayerNorm.state_dict())


def copy_bert_mlp(ours: PostNormMLP, theirs: BertLayer) -> None:
    copy_linear(ours.expand, theirs.intermediate.dense)
    copy_linear(ours.contract, theirs.output.dense)
    ours.norm.load_state_dict(theirs.output.LayerNorm.state_dict())


def randomise_norms(module: nn.Module) -> None:
    """Freshly built norms are the identity, which would hide a swap."""
    for part in module.modules():
        if isinstance(part, nn.LayerNorm):
            nn.init.normal_(part.weight, mean=1.0, std=0.2)
            nn.init.normal_(part.bias, std=0.2)


def padded_words():
    is_valid = torch.arange(7) < torch.tensor([[7], [4]])
    additive = torch.zeros(2, 1, 1, 7).masked_fill(~is_valid[:, None, None], -1e9)
    return torch.randn(2, 7, DIM), is_valid, additive


def test_against_transformers_bert_layer():
    torch.manual_seed(0)
    theirs = BertLayer(bert_config()).eval()
    randomise_norms(theirs)
    attention, mlp = PostNormAttention(DIM, HEADS).eval(), PostNormMLP(DIM, 40).eval()
    copy_bert_attention(attention, theirs.attention)
    copy_bert_mlp(mlp, theirs)
    words, is_valid, additive = padded_words()
    found, expected = mlp(attention(words, is_valid=is_valid)), theirs(words, additive)
    torch.testing.assert_close(found[is_valid], expected[is_valid], **ONE_LAYER)


def test_against_transformers_bert_layer_with_cross_attention():
    """At the word-patch level alone, the fusion layer is BERT's layer with cross-attention."""
    torch.manual_seed(0)
    theirs = BertLayer(bert_config(is_decoder=True, add_cross_attention=True)).eval()
    randomise_norms(theirs)
    ours = FusionLayer(9, dim=DIM, heads=HEADS, mlp_dim=40, instance_level=False).eval()
    copy_bert_attention(ours.words_to_words, theirs.attention)
    copy_bert_attention(ours.words_to_patches, theirs.crossattention)
    copy_bert_mlp(ours.mlp, theirs)
    words, is_valid, additive = padded_words()
    patches = torch.randn(2, 6, 9)
    expected = theirs(words, additive, encoder_hidden_states=ours.patch_projection(patches))
    found = ours(words, is_valid, patches)
    torch.testing.assert_close(found[is_valid], expected[is_valid], **ONE_LAYER)


def test_against_transformers_masked_word_model():
    """All layers, the head over the vocabulary, and the loss with its ignored positions."""
    torch.manual_seed(0)
    theirs = BertForMaskedLM(bert_config()).eval()
    randomise_norms(theirs)
    ours = TextDecoder(VOCABULARY, dim=DIM, depth=3, heads=HEADS, mlp_dim=40).eval()
    for i, layer in enumerate(theirs.bert.encoder.layer):
        copy_bert_attention(ours.attentions[i], layer.attention)
        copy_bert_mlp(ours.mlps[i], layer)
    head = theirs.cls.predictions
    copy_linear(ours.transform, head.transform.dense)
    ours.norm.load_state_dict(head.transform.LayerNorm.state_dict())
    copy_linear(ours.vocabulary, head.decoder)

    ids = torch.randint(VOCABULARY, (2, 7))
    _, is_valid, _ = padded_words()
    is_masked = torch.rand(2, 7) < 0.6
    is_counted = counted_words(is_masked, is_valid)
    labels = ids.masked_fill(~is_counted, -100)
    expected = theirs(ids, attention_mask=is_valid.long(), labels=labels)
    words = theirs.bert.embeddings(ids)
    logits = ours(words, is_valid, is_counted)
    torch.testing.assert_close(logits, expected.logits[is_counted], **NETWORK)
    torch.testing.assert_close(report_loss(logits, ids[is_counted]), expected.loss, **NETWORK)


def copy_vit_layer(ours: PreNormBlock, theirs: nn.Module) -> None:
    copy_linear(ours.attention.query, theirs.attention.q_proj)
    copy_linear(ours.attention.key_value, theirs.attention.k_proj, theirs.attention.v_proj)
    copy_linear(ours.attention_output, theirs.attention.o_proj)
    copy_linear(ours.mlp[0], theirs.mlp.fc1)
    copy_linear(ours.mlp[2], theirs.mlp.fc2)
    ours.attention_norm.load_state_dict(theirs.layernorm_before.state_dict())
    ours.mlp_norm.load_state_dict(theirs.layernorm_after.state_dict())


def flat_vit_mae(norm_pix_loss):
    """Return their masked autoencoder for images of 16 x 16 pixels in 4 x 4 patches."""
    config = ViTMAEConfig(
        image_size=16,
        patch_size=4,
        num_channels=1,
        hidden_size=DIM,
        num_hidden_layers=3,
        num_attention_heads=HEADS,
        intermediate_size=4 * DIM,
        layer_norm_eps=1e-6,
        decoder_hidden_size=20,
        decoder_num_hidden_layers=2,
        decoder_num_attention_heads=5,
        decoder_intermediate_size=80,
        mask_ratio=0.75,
        norm_pix_loss=norm_pix_loss,
        attn_implementation="eager",
    )
    model = ViTMAEForPreTraining(config).eval()
    randomise_norms(model)
    return model


def copy_vit_mae(encoder: VisionEncoder, decoder: VisionDecoder, theirs: nn.Module) -> None:
    """Copy their weights into ours, and our positions into theirs."""
    embeddings, their_decoder = theirs.vit.embeddings, theirs.decoder
    convolution = embeddings.patch_embeddings.projection
    with torch.no_grad():
        encoder.patch_embedding.projection.weight.copy_(convolution.weight.flatten(start_dim=1))
        encoder.patch_embedding.projection.bias.copy_(convolution.bias)
        encoder.cls_token.copy_(embeddings.cls_token.flatten())
        decoder.mask_token.copy_(their_decoder.mask_token.flatten())
        embeddings.position_embeddings[:, 1:] = encoder.position
        embeddings.position_embeddings[:, 0] = 0
        their_decoder.decoder_pos_embed[:, 1:] = decoder.position
        their_decoder.decoder_pos_embed[:, 0] = 0
    for ours, layers in (
        (encoder.blocks, theirs.vit.layers),
        (decoder.blocks, their_decoder.decoder_layers),
    ):
        for one, other in zip(ours, layers, strict=True):
            copy_vit_layer(one, other)
    encoder.norm.load_state_dict(theirs.vit.layernorm.state_dict())
    decoder.norm.load_state_dict(their_decoder.decoder_norm.state_dict())
    copy_linear(decoder.embedding, their_decoder.decoder_embed)
    copy_linear(decoder.head, their_decoder.decoder_pred)


@pytest.mark.parametrize("normalise", [False, True])
def test_against_transformers_masked_autoencoder(normalise):
    """An image is a volume one voxel deep: tokens, predictions, loss and gradients agree."""
    torch.manual_seed(0)
    theirs = flat_vit_mae(normalise)
    grid = PatchGrid((16, 16, 1), (4, 4, 1))
    encoder = VisionEncoder(grid, dim=DIM, depth=3, heads=HEADS)
    decoder = VisionDecoder(grid, encoder_dim=DIM, dim=20, depth=2, heads=5)
    copy_vit_mae(encoder, decoder, theirs)

    noise, pixels = torch.rand(2, 16), torch.rand(2, 1, 16, 16) * 2 - 1
    expected = theirs(pixels, noise=noise)
    order = noise.argsort(dim=1)
    masking = PatchMasking(order[:, :4], order[:, 4:])
    assert torch.equal(masking.is_masked, expected.mask.bool())

    patches = grid.cut(pixels[:, 0, :, :, None])
    cls_token, visible_tokens, _ = encoder(patches, masking.visible)
    predicted = decoder(cls_token, visible_tokens, masking)
    for b in range(2):
        torch.testing.assert_close(predicted[b], expected.logits[b, masking.masked[b]], **NETWORK)
    loss = patch_loss(predicted, gather(patches, masking.masked), normalise=normalise)
    torch.testing.assert_close(loss, expected.loss, **NETWORK)

    loss.backward()
    expected.loss.backward()
    convolution = theirs.vit.embeddings.patch_embeddings.projection
    torch.testing.assert_close(
        encoder.patch_embedding.projection.weight.grad,
        convolution.weight.grad.flatten(start_dim=1),
        **NETWORK,
    )
    torch.testing.assert_close(
        decoder.mask_token.grad, theirs.decoder.mask_token.grad.flatten(), **NETWORK
    )
