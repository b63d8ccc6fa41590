from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from simcrop.report.word_masking import continuation_pieces, mask_words, word_of_piece

PAD, CLS, SEP, MASK = 0, 2, 3, 4
SPECIAL = (PAD, CLS, SEP, MASK)


def a_batch(batch: int = 4, words: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(5, 100, (batch, words), generator=torch.Generator().manual_seed(0))
    lengths = torch.arange(words - batch + 1, words + 1)
    is_valid = torch.arange(words) < lengths[:, None]
    ids[:, 0] = CLS
    ids[torch.arange(batch), lengths - 1] = SEP
    return ids.masked_fill(~is_valid, PAD), is_valid


def mask(ids, is_valid, ratio=0.75, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return mask_words(
        ids,
        is_valid,
        mask_id=MASK,
        special_ids=SPECIAL,
        ratio=ratio,
        generator=generator,
        **options,
    )


@given(st.floats(0, 1), st.integers(0, 1000))
def test_padding_and_special_tokens_are_never_masked(ratio, seed):
    ids, is_valid = a_batch()
    masked, is_masked = mask(ids, is_valid, ratio, seed)
    assert not (is_masked & ~is_valid).any()
    assert not (is_masked & torch.isin(ids, torch.tensor(SPECIAL))).any()
    assert (masked[is_masked] == MASK).all()
    assert torch.equal(masked[~is_masked], ids[~is_masked])


def test_ratio_zero_masks_nothing_and_one_all_words():
    ids, is_valid = a_batch()
    assert not mask(ids, is_valid, ratio=0.0)[1].any()
    assert torch.equal(mask(ids, is_valid, ratio=1.0)[1], is_valid & (ids > MASK))


@pytest.mark.parametrize("ratio", [0.15, 0.5, 0.75])
def test_share_of_masked_words_is_the_ratio(ratio):
    ids = torch.full((100, 400), 50)
    share = mask(ids, torch.ones_like(ids, dtype=torch.bool), ratio)[1].float().mean()
    assert share == pytest.approx(ratio, abs=4 * (0.25 / 40_000) ** 0.5)


def test_same_generator_state_masks_the_same_words():
    ids, is_valid = a_batch()
    assert torch.equal(mask(ids, is_valid, seed=1)[1], mask(ids, is_valid, seed=1)[1])
    assert not torch.equal(mask(ids, is_valid, seed=1)[1], mask(ids, is_valid, seed=2)[1])


def test_input_is_left_as_it_was():
    ids, is_valid = a_batch()
    before = ids.clone()
    mask(ids, is_valid)
    assert torch.equal(ids, before)


def test_pieces_of_a_word_are_masked_together():
    ids, is_valid = a_batch(batch=50)
    whole = torch.arange(ids.shape[1]).expand_as(ids) // 3
    _, is_masked = mask(ids, is_valid, ratio=0.5, word_of_piece=whole)
    is_free = is_valid & (ids > MASK)
    for number in range(int(whole.max()) + 1):
        group = whole == number
        hidden = (is_masked & group).sum(1)
        assert ((hidden == 0) | (hidden == (is_free & group).sum(1))).all()
    assert 0.4 < is_masked[is_free].float().mean() < 0.6


def test_whole_words_come_from_the_vocabulary(tokenizer):
    text = "[CLS] interlobular septal thickening [SEP]"
    ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    vocabulary = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    numbers = word_of_piece(ids, continuation_pieces(vocabulary))[0].tolist()
    pieces = tokenizer.convert_ids_to_tokens(ids[0].tolist())
    assert numbers[0] == 0
    assert numbers[-1] == 4
    steps = [b - a for a, b in pairwise(numbers)]
    assert steps == [0 if piece.startswith("##") else 1 for piece in pieces[1:]]


@pytest.mark.parametrize("ratio", [-0.1, 1.1])
def test_impossible_ratio_is_refused(ratio):
    with pytest.raises(ValueError, match="probability"):
        mask(*a_batch(), ratio=ratio)
