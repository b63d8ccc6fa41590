"""MONAI's own UNETR with the same weights; its patch is 16 voxels wide along every axis.

The two differ by design behind the third join, where the authors resize and MONAI goes on with a
transposed convolution, so maps are compared up to there.
"""

import pytest
import torch
from monai.networks import nets
from test_monai import copy_block, copy_patch_embedding, set_epsilon

from simcrop.geometry import PatchGrid
from simcrop.model.unetr import UNETR
from simcrop.model.vision_encoder import VisionEncoder

pytestmark = pytest.mark.filterwarnings("ignore:torch.meshgrid:UserWarning")

CROP = (32, 16, 16)
NETWORK = {"rtol": 0, "atol": 1e-4}


def copy_in_order(ours, theirs) -> None:
    sources, targets = ours.state_dict(), theirs.state_dict()
    assert [t.shape for t in sources.values()] == [t.shape for t in targets.values()]
    theirs.load_state_dict(dict(zip(targets, sources.values(), strict=True)))


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    encoder = VisionEncoder(PatchGrid(CROP, (16, 16, 16)), dim=24, depth=12, heads=2)
    ours = UNETR(encoder, 3, feature_size=4)
    theirs = nets.UNETR(
        1, 3, CROP, feature_size=4, hidden_size=24, mlp_dim=96, num_heads=2, qkv_bias=True,
        proj_type="conv", norm_name="instance",
    )  # fmt: skip
    set_epsilon(theirs.vit)
    copy_patch_embedding(ours.patch_embedding, theirs.vit.patch_embedding)
    theirs.vit.patch_embedding.position_embeddings.data.copy_(ours.position[None])
    for mine, their in zip(ours.blocks, theirs.vit.blocks, strict=True):
        copy_block(mine, their)
    theirs.vit.norm.load_state_dict(ours.norm.state_dict())
    pairs = [(ours.input_skip, theirs.encoder1)]
    pairs += zip(ours.skips, (theirs.encoder2, theirs.encoder3, theirs.encoder4), strict=True)
    pairs += zip(ours.joins, (theirs.decoder5, theirs.decoder4, theirs.decoder3), strict=True)
    for mine, their in pairs:
        copy_in_order(mine, their)
    return ours.eval(), theirs.eval(), pairs


def test_against_monai_unetr_up_to_the_last_step(networks):
    ours, theirs, pairs = networks
    maps: dict[int, torch.Tensor] = {}
    for part in (part for pair in pairs for part in pair):
        part.register_forward_hook(lambda part, _, out: maps.update({id(part): out}))
    voxels = torch.rand(2, 1, *CROP) * 2 - 1
    with torch.no_grad():
        ours(voxels)
        theirs(voxels)
    for mine, their in pairs:
        torch.testing.assert_close(maps[id(mine)], maps[id(their)], **NETWORK)
