"""Dropout by study: what is dropped, and on what it depends."""

import math

import pytest
import torch

from simcrop.model.dropout import KEYS, Dropout
from simcrop.model.fusion import FusionLayer
from simcrop.model.transformer import PostNormAttention, PostNormMLP

KEY = torch.tensor([11, 12, 4_000_000_000])
MASK = KEYS - 1


def scrambled(state: int) -> int:
    """The finaliser of MurmurHash3 in Python's own integers."""
    state &= MASK
    state = ((state ^ (state >> 16)) * 0x85EBCA6B) & MASK
    state = ((state ^ (state >> 13)) * 0xC2B2AE35) & MASK
    return state ^ (state >> 16)


def layers():
    torch.manual_seed(0)
    return PostNormAttention(12, 3).double(), PostNormMLP(12, 24).double()


def words(number=3):
    return torch.randn(number, 5, 12, generator=torch.Generator().manual_seed(1)).double()


def test_what_stays_is_what_the_formula_says():
    dropout = Dropout(KEY, 0.4).of(2)
    found = dropout.keeps((3, 4))
    for study, key in enumerate(KEY.tolist()):
        of_place = scrambled(key + 3 * 0x9E3779B9)
        for row in range(3):
            of_row = scrambled(of_place + (row + 1) * 0x9E3779B9)
            for column in range(4):
                drawn = scrambled(of_row + (column + 1) * 0x9E3779B9)
                assert found[study, row, column] == (drawn >= int(0.4 * KEYS))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_rate(rate):
    keeps = Dropout(torch.randint(KEYS, (40,)), rate).of(0).keeps((100, 64)).double()
    spread = math.sqrt(rate * (1 - rate))
    assert abs(keeps.mean() - (1 - rate)) < 4 * spread / math.sqrt(keeps.numel())
    for axis, size in ((0, 6400), (1, 2560), (2, 4000)):  # no study, word or channel is favoured
        others = [other for other in range(3) if other != axis]
        z = (keeps.mean(dim=others) - (1 - rate)) / (spread / math.sqrt(size))
        assert z.abs().max() < 4.5
        assert abs(z.std() - 1) < 0.4


def test_studies_places_and_neighbours_are_dropped_independently():
    dropout = Dropout(torch.arange(100), 0.5)
    first, second = dropout.of(0).keeps((50, 50)).double(), dropout.of(1).keeps((50, 50)).double()

    def correlation(one, other):
        return torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1].abs()

    limit = 4 / math.sqrt(first.numel())
    assert correlation(first, second) < limit
    assert correlation(first[1:], first[:-1]) < limit
    assert correlation(first[:, 1:], first[:, :-1]) < limit
    assert correlation(first[..., 1:], first[..., :-1]) < limit
    assert correlation(first[:, :25, 25:], first[:, 25:, :25].mT) < 2 * limit


def test_padding_and_the_other_studies_change_nothing():
    dropout = Dropout(KEY, 0.3)
    padded, alone = dropout.keeps((4, 9, 7)), Dropout(KEY[1:2], 0.3).keeps((4, 6, 5))
    assert torch.equal(padded[1:2, :, :6, :5], alone)


def test_values_that_stay_are_scaled_up_so_that_the_mean_stays():
    values = Dropout(torch.arange(200), 0.2)(torch.ones(200, 50))
    assert set(values.unique().tolist()) == {0.0, 1.25}
    assert values.mean() == pytest.approx(1.0, abs=0.02)


def test_layers_drop_the_weights_of_attention_and_the_outputs():
    attention, mlp = layers()
    dropout, x = Dropout(KEY, 0.5), words()
    of_weights, of_output = dropout.of(0), dropout.of(1)
    query = attention.attention.query(x).unflatten(-1, (3, 4)).transpose(1, 2)
    key, value = attention.attention.key_value(x).unflatten(-1, (2, 3, 4)).permute(2, 0, 3, 1, 4)
    weights = (query @ key.mT / 2).softmax(dim=-1)
    weights = weights * of_weights.keeps((3, 5, 5)) / 0.5
    attended = (weights @ value).transpose(1, 2).flatten(2)
    out = attention.output(attended) * of_output.keeps((5, 12)) / 0.5
    torch.testing.assert_close(attention(x, dropout=dropout), attention.norm(x + out))
    out = mlp.contract(torch.nn.functional.gelu(mlp.expand(x))) * dropout.keeps((5, 12)) / 0.5
    torch.testing.assert_close(mlp(x, dropout), mlp.norm(x + out))


@pytest.mark.parametrize("is_valid", [None, torch.tensor([[True] * 3 + [False] * 2] * 3)])
def test_a_rate_of_nothing_gives_what_the_fused_kernel_gives(is_valid):
    attention, _ = layers()
    none, nothing = attention(words(), is_valid=is_valid), Dropout(KEY, 0.0)
    torch.testing.assert_close(attention(words(), is_valid=is_valid, dropout=nothing), none)


def test_a_report_of_padding_alone_stays_finite():
    attention, _ = layers()
    x = words().requires_grad_()
    found = attention(x, is_valid=torch.zeros(3, 5, dtype=torch.bool), dropout=Dropout(KEY, 0.1))
    found.sum().backward()
    assert found.isfinite().all()
    assert x.grad.isfinite().all()


def test_no_two_places_of_a_network_share_their_draws():
    """Every dropped tensor of the fusion layer and its sublayers has keys of its own."""
    seen = []

    class Spy(Dropout):
        def of(self, place):
            return Spy(super().of(place).keys, self.rate)

        def __call__(self, values):
            seen.append(int(self.keys[0]))
            return super().__call__(values)

    layer = FusionLayer(10, dim=12, heads=3, mlp_dim=16).double()
    patches = torch.randn(3, 4, 10).double()
    layer(words(), torch.ones(3, 5, dtype=torch.bool), patches, Spy(KEY, 0.1))
    assert len(seen) == len(set(seen)) == 5
