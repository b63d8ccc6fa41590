"""Fine-tuning moves the encoder, keeps the epoch that validation likes, and tests once."""

import numpy as np
import pytest
import torch

from simcrop.config import FinetuneConfig
from simcrop.train.features import embed_store
from simcrop.train.finetune import finetune_encoder, tuned
from simcrop.train.finetune_run import finetune
from simcrop.train.pretrained import load
from simcrop.train.probe_parts import divide

SHORT = FinetuneConfig(lr=1e-3, head_lr=1e-2, batch_size=8, epochs=3)


@pytest.fixture(scope="module")
def development(pretrained, phantom_store):
    return divide(embed_store(pretrained, phantom_store), phantom_store)[0]


def test_the_best_epoch_is_kept_and_the_pretrained_encoder_stays(
    pretrained, phantom_store, development
):
    before = {n: t.clone() for n, t in pretrained.simcrop.state_dict().items()}
    seen = []
    module = finetune_encoder(
        pretrained, phantom_store, development, SHORT, feature="post_norm_gap",
        on_progress=lambda done, total, what: seen.append((done, total)),
    )  # fmt: skip
    assert len(module.val_scores) == SHORT.epochs
    assert module.val_scores[module.best_epoch - 1] == max(module.val_scores)
    assert seen[-1][0] == seen[-1][1]
    for name, tensor in pretrained.simcrop.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)
    encoder, head = tuned(pretrained, module)
    moved = encoder.simcrop.vision_encoder.patch_embedding.state_dict()
    still = pretrained.simcrop.vision_encoder.patch_embedding.state_dict()
    assert not all(torch.equal(moved[name], still[name]) for name in moved)
    # what the module says of a validation volume is what the tuned encoder's feature gives
    features = embed_store(encoder, phantom_store, splits=("val",))
    with torch.inference_mode():
        logits = head(torch.from_numpy(features.volume_embeddings))
    assert torch.isfinite(logits).all()


def test_the_result_sets_fine_tuned_beside_frozen_and_leaves_a_checkpoint(
    pretrained, phantom_store, tmp_path
):
    result = finetune(
        pretrained, phantom_store, SHORT.model_copy(update={"epochs": 1}), tmp_path,
        fractions=(0.5,),
    )  # fmt: skip
    assert result.command == "finetune"
    assert [items.model for items in result.items] == ["fine-tuned", "frozen"]
    assert result.items[0].hash == result.items[1].hash
    assert set(result.figures["difference"]) == {"frozen"}
    assert result.figures["encoders"]["fine-tuned"]["choice"] == "epoch 1"
    again = load(tmp_path / "checkpoint")
    assert again.feature == "post_norm_gap"
    vectors = embed_store(again, phantom_store, splits=("test",)).volume_embeddings
    assert np.isfinite(vectors).all()
