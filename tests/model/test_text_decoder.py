"""The text decoder and its head over the vocabulary."""

import torch

from reference import networks as reference
from simcrop.model.dropout import Dropout
from simcrop.model.text_decoder import TextDecoder


def build():
    torch.manual_seed(0)
    return TextDecoder(17, dim=12, depth=2, heads=3, mlp_dim=16).double()


def inputs():
    torch.manual_seed(1)
    words = torch.randn(2, 5, 12, dtype=torch.float64)
    is_valid = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    is_counted = torch.tensor(
        [[False, True, False, True, True], [True, False, False] + [False] * 2]
    )
    return words, is_valid, is_counted


def test_logits_agree_with_the_reference_in_the_order_of_the_counted_words():
    decoder, (words, is_valid, is_counted) = build(), inputs()
    found = decoder(words, is_valid, is_counted)
    every_word = torch.stack(
        [reference.decode_words(decoder, words[b], is_valid[b].tolist()) for b in range(2)]
    )
    assert found.shape == (4, 17)
    torch.testing.assert_close(found, every_word[is_counted], rtol=0, atol=1e-10)


def test_padded_words_change_nothing():
    decoder, (words, is_valid, is_counted) = build(), inputs()
    other = words.masked_fill(~is_valid[:, :, None], 50.0)
    torch.testing.assert_close(
        decoder(other, is_valid, is_counted), decoder(words, is_valid, is_counted)
    )


def test_a_batch_gives_what_its_reports_give_one_by_one():
    decoder, (words, is_valid, is_counted) = build(), inputs()
    alone = [decoder(words[b : b + 1], is_valid[b : b + 1], is_counted[b : b + 1]) for b in (0, 1)]
    torch.testing.assert_close(decoder(words, is_valid, is_counted), torch.cat(alone))


def test_words_that_do_not_count_still_serve_as_context():
    decoder, (words, is_valid, is_counted) = build(), inputs()
    words.requires_grad_()
    decoder(words, is_valid, is_counted).square().sum().backward()
    gets_gradient = words.grad.any(dim=-1)
    assert torch.equal(gets_gradient, is_valid)


def test_without_counted_words_there_are_no_rows():
    decoder, (words, is_valid, is_counted) = build(), inputs()
    assert decoder(words, is_valid, torch.zeros_like(is_counted)).shape == (0, 17)


def test_every_parameter_gets_a_gradient():
    decoder, (words, is_valid, is_counted) = build(), inputs()
    decoder(words, is_valid, is_counted, Dropout(torch.arange(2), 0.1)).square().sum().backward()
    assert [n for n, p in decoder.named_parameters() if p.grad is None] == []
