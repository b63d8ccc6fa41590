"""Plain torch modules with the same weights: same numbers out."""

import torch
import torch.nn.functional as F
from torch import nn

from simcrop.geometry import PatchGrid
from simcrop.model.transformer import PostNormAttention, PostNormMLP, PreNormBlock
from simcrop.objectives.alignment import similarity_map
from simcrop.objectives.contrast import AlignmentInput, within_report

DIM, HEADS = 24, 4
ONE_LAYER = {"rtol": 0, "atol": 1e-5}


def copy_attention(ours, output, theirs):
    """Give torch's attention the weights of ours; it keeps query, key and value in one matrix."""
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
    theirs.out_proj.load_state_dict(output.state_dict())


def encoder_layer(norm_first, eps):
    return nn.TransformerEncoderLayer(
        DIM,
        HEADS,
        dim_feedforward=4 * DIM,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=eps,
        batch_first=True,
        norm_first=norm_first,
    )


def test_against_torch_pre_norm_layer():
    torch.manual_seed(0)
    ours, theirs = PreNormBlock(DIM, HEADS, 4.0), encoder_layer(norm_first=True, eps=1e-6)
    copy_attention(ours.attention, ours.attention_output, theirs.self_attn)
    theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
    theirs.norm2.load_state_dict(ours.mlp_norm.state_dict())
    theirs.linear1.load_state_dict(ours.mlp[0].state_dict())
    theirs.linear2.load_state_dict(ours.mlp[2].state_dict())
    tokens = torch.randn(2, 7, DIM)
    torch.testing.assert_close(ours(tokens), theirs(tokens), **ONE_LAYER)
    may_attend = torch.rand(7, 7) < 0.5
    may_attend |= torch.eye(7, dtype=torch.bool)
    torch.testing.assert_close(
        ours(tokens, may_attend[None, None]), theirs(tokens, src_mask=~may_attend), **ONE_LAYER
    )


def test_against_torch_post_norm_layer_with_padding():
    torch.manual_seed(0)
    attention, mlp = PostNormAttention(DIM, HEADS), PostNormMLP(DIM, 4 * DIM)
    theirs = encoder_layer(norm_first=False, eps=1e-12)
    copy_attention(attention.attention, attention.output, theirs.self_attn)
    theirs.norm1.load_state_dict(attention.norm.state_dict())
    theirs.norm2.load_state_dict(mlp.norm.state_dict())
    theirs.linear1.load_state_dict(mlp.expand.state_dict())
    theirs.linear2.load_state_dict(mlp.contract.state_dict())
    words, is_valid = torch.randn(2, 7, DIM), torch.arange(7) < torch.tensor([[7], [4]])
    found = mlp(attention(words, is_valid=is_valid))
    expected = theirs(words, src_key_padding_mask=~is_valid)
    torch.testing.assert_close(found[is_valid], expected[is_valid], **ONE_LAYER)


def test_against_torch_cross_attention():
    torch.manual_seed(0)
    ours = PostNormAttention(DIM, HEADS)
    theirs = nn.MultiheadAttention(DIM, HEADS, batch_first=True)
    copy_attention(ours.attention, ours.output, theirs)
    words, patches = torch.randn(2, 5, DIM), torch.randn(2, 9, DIM)
    expected = ours.norm(words + theirs(words, patches, patches, need_weights=False)[0])
    torch.testing.assert_close(ours(words, patches), expected, **ONE_LAYER)


def test_against_torch_unfold_cutting_is_exact():
    grid = PatchGrid((8, 12, 10), (2, 4, 2))
    voxels = torch.rand(3, *grid.crop_shape)
    boxes = voxels
    for axis, size in enumerate(grid.patch_shape, start=1):
        boxes = boxes.unfold(axis, size, size)
    assert torch.equal(grid.cut(voxels), boxes.reshape(3, grid.num_patches, grid.patch_voxels))


def test_against_torch_cosine_similarity():
    torch.manual_seed(0)
    patches, sentences = torch.randn(2, 9, 5), torch.randn(2, 4, 5)
    expected = F.cosine_similarity(sentences[:, :, None], patches[:, None], dim=-1)
    torch.testing.assert_close(similarity_map(patches, sentences), expected, **ONE_LAYER)


def test_against_torch_cross_entropy_in_both_directions():
    """Without padding and duplicates, the loss within a report is CLIP's, summed not halved."""
    torch.manual_seed(0)
    patches, sentences = torch.randn(1, 9, 5), torch.randn(1, 6, 5)
    inputs = AlignmentInput(
        patches=patches,
        sentences=sentences,
        is_candidate=torch.ones(1, 9, dtype=torch.bool),
        keys=torch.arange(6)[None],
        is_valid=torch.ones(1, 6, dtype=torch.bool),
        weights=torch.ones(1, 6),
    )
    best = F.cosine_similarity(sentences[0, :, None], patches[0, None], dim=-1).topk(2).indices
    regions = F.normalize(patches[0, best].mean(dim=1), dim=-1)
    logits = F.normalize(sentences[0], dim=-1) @ regions.T / 0.07
    labels = torch.arange(6)
    expected = F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)
    found = within_report(inputs, top_k=2, temperature=0.07, reduction="report")
    torch.testing.assert_close(found, expected, **ONE_LAYER)
