"""The frozen text encoder."""

import json

import pytest
import torch
from torch import nn
from transformers import AutoModel, BertConfig, BertModel

from simcrop.errors import ConfigError
from simcrop.model.text_encoder import TextEncoder
from simcrop.report.tokens import packaged_text_encoder

IDS = torch.tensor([[101, 2053, 20228, 102, 0, 0], [101, 1996, 2540, 2003, 3671, 102]])
IS_VALID = IDS != 0


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder("packaged")


@pytest.fixture
def small_bert(tmp_path):
    """A folder with a BERT of random weights whose dropout is strong."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=3,
        intermediate_size=16,
        hidden_dropout_prob=0.5,
    )
    BertModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_against_transformers_loaded_directly(encoder):
    bert = AutoModel.from_pretrained(packaged_text_encoder(), local_files_only=True).eval()
    with torch.no_grad():
        expected = bert(input_ids=IDS, attention_mask=IS_VALID.long()).last_hidden_state
    assert torch.equal(encoder(IDS, IS_VALID), expected)
    assert expected.shape[-1] == encoder.dim
    assert bert.embeddings.word_embeddings.num_embeddings == encoder.vocabulary_size


def test_it_gives_no_gradient_and_has_no_trainable_parameter(encoder):
    assert not encoder(IDS, IS_VALID).requires_grad
    assert not any(p.requires_grad for p in encoder.parameters())


def test_training_mode_of_the_whole_leaves_it_in_evaluation_mode(small_bert):
    encoder = TextEncoder(str(small_bert))
    ids, is_valid = IDS % 50, IS_VALID
    before = encoder(ids, is_valid)
    nn.ModuleDict({"text_encoder": encoder, "head": nn.Linear(2, 2)}).train()
    assert not any(module.training for module in encoder.modules())
    for _ in range(2):
        assert torch.equal(encoder(ids, is_valid), before)


def test_a_training_step_never_moves_it(small_bert):
    encoder = TextEncoder(str(small_bert))
    whole = nn.ModuleDict({"text_encoder": encoder, "head": nn.Linear(12, 1)}).train()
    before = encoder.fingerprint()
    optimiser = torch.optim.AdamW(whole.parameters(), lr=0.1, weight_decay=0.5)
    whole["head"](encoder(IDS % 50, IS_VALID)).square().sum().backward()
    optimiser.step()
    assert encoder.fingerprint() == before
    assert all(p.grad is None for p in encoder.parameters())


def test_padding_and_company_change_nothing_for_real_words(encoder):
    together = encoder(IDS, IS_VALID)
    alone = encoder(IDS[:1, :4], IS_VALID[:1, :4])
    torch.testing.assert_close(together[:1, :4], alone, rtol=0, atol=1e-5)
    other = IDS.masked_fill(~IS_VALID, 999)
    torch.testing.assert_close(
        encoder(other, IS_VALID)[IS_VALID], together[IS_VALID], rtol=0, atol=1e-5
    )


def test_the_fingerprint_tells_weights_apart(small_bert):
    encoder = TextEncoder(str(small_bert))
    assert encoder.fingerprint() == TextEncoder(str(small_bert)).fingerprint()
    before = encoder.fingerprint()
    encoder.bert.embeddings.word_embeddings.weight[0, 0] += 1
    assert encoder.fingerprint() != before


def test_cxr_bert_s_own_type_name_is_read_as_bert(small_bert):
    expected = TextEncoder(str(small_bert))(IDS % 50, IS_VALID)
    config = json.loads((small_bert / "config.json").read_text())
    config |= {"model_type": "cxr-bert", "architectures": ["CXRBertModel"]}
    (small_bert / "config.json").write_text(json.dumps(config))
    assert torch.equal(TextEncoder(str(small_bert))(IDS % 50, IS_VALID), expected)


def test_a_folder_without_weights_is_refused_and_named(tmp_path):
    with pytest.raises(ConfigError, match="could not be loaded") as caught:
        TextEncoder(str(tmp_path))
    assert str(tmp_path) in str(caught.value)


def test_an_untrained_encoder_has_the_size_of_the_named_one(small_bert):
    named, untrained = TextEncoder(str(small_bert)), TextEncoder(str(small_bert), untrained=True)
    assert untrained.fingerprint() != named.fingerprint()
    for one, other in zip(untrained.parameters(), named.parameters(), strict=True):
        assert one.shape == other.shape
        assert not one.requires_grad


def test_an_untrained_encoder_from_the_hub_is_a_bert_base_and_needs_no_network():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        encoder = TextEncoder("nobody/never-published", untrained=True)
    assert encoder.dim == 768
    assert encoder.vocabulary_size == 30_522
    assert sum(p.numel() for p in encoder.parameters()) == 109_482_240
