"""The two kinds of transformer layer the method is made of.

`PreNormBlock` is the vision transformer's (normalise, attend, add; normalise, MLP, add).
`PostNormAttention` and `PostNormMLP` are BERT's halves (attend, add, normalise), of which the
fusion layer and the text decoder are built. Attention is torch's fused kernel everywhere: the
N x N matrix is never written out, which halves the time at 2,744 tokens.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from simcrop.model.dropout import Dropout, drop, per_place

Tokens = Float[Tensor, "batch tokens dim"]


class Attention(nn.Module):
    """Multi-head attention of queries to a context, which may be the queries themselves.

    Raises:
        ValueError: if the width is not a multiple of the number of heads.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"width {dim} cannot be split into {heads} heads; choose a divisor")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)

    def forward(
        self,
        queries: Float[Tensor, "batch queries dim"],
        context: Float[Tensor, "batch keys dim"],
        may_attend: Bool[Tensor, "#batch #heads #queries keys"] | None = None,
        dropout: Dropout | None = None,
    ) -> Float[Tensor, "batch queries dim"]:
        """Return the attended context, heads side by side, before any output projection.

        `may_attend` is True where a query may look at a key; every query needs one such key.
        `dropout` is of the weights.
        """
        return self.mix(self.query(queries), self.key_value(context), may_attend, dropout)

    def apart(self, tokens: Tokens) -> Tokens:
        """Return what comes of attention where only the first token looks at the others.

        A token that sees itself alone attends to its own value; the N x N table is spared.
        """
        key_value = self.key_value(tokens)
        values = key_value[:, 1:, key_value.shape[-1] // 2 :]
        return torch.cat([self.mix(self.query(tokens[:, :1]), key_value), values], dim=1)

    def mix(
        self,
        query: Float[Tensor, "batch queries dim"],
        key_value: Float[Tensor, "batch keys twice_dim"],
        may_attend: Bool[Tensor, "#batch #heads #queries keys"] | None = None,
        dropout: Dropout | None = None,
    ) -> Float[Tensor, "batch queries dim"]:
        """Return the attended context of queries, keys and values that are projected already."""
        q = rearrange(query, "b n (h d) -> b h n d", h=self.heads)
        # Copied, since the fused kernel reads every key and value once per block of queries.
        k, v = rearrange(
            key_value, "b n (two h d) -> two b h n d", two=2, h=self.heads
        ).contiguous()
        if dropout is None:
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=may_attend)
        else:  # of which the fused kernel would draw its own
            attended = dropout(_weights(q, k, may_attend)) @ v
        return rearrange(attended, "b h n d -> b n (h d)")


def _weights(
    query: Float[Tensor, "batch heads queries head_dim"],
    key: Float[Tensor, "batch heads keys head_dim"],
    may_attend: Bool[Tensor, "#batch #heads #queries keys"] | None,
) -> Float[Tensor, "batch heads queries keys"]:
    """Return how much each query looks at each key; without any key it may look at, all alike."""
    scores = query @ key.mT / query.shape[-1] ** 0.5
    if may_attend is not None:
        scores = scores.masked_fill(~may_attend, torch.finfo(scores.dtype).min)
    return scores.softmax(dim=-1)


class PreNormBlock(nn.Module):
    """A block of the vision transformer: attention and MLP, each on normalised input.

    The backward pass computes the cheap parts again, what the norms and GELU give, instead of
    keeping them: two fifths of a block's memory for a hundredth of its time. With
    `keeps_activations` off, training keeps the block's input alone and computes everything again:
    still less memory, more time. Values are the same either way.
    """

    def __init__(self, dim: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.keeps_activations = True
        self.attention_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attention = Attention(dim, heads)
        self.attention_output = nn.Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim, eps=1e-6)
        hidden = int(dim * mlp_ratio)
        self.mlp = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))

    def forward(
        self,
        tokens: Tokens,
        may_attend: Bool[Tensor, "#batch 1 tokens tokens"] | None = None,
        first_query: int = 0,
    ) -> Float[Tensor, "batch queries dim"]:
        """Return the tokens from `first_query` on; all tokens serve as keys and values.

        A decoder whose loss reads only the last tokens asks for those in its last block and
        saves the work on the others; the result is the same.
        """
        if self.keeps_activations:
            return self._attend_and_mix(tokens, may_attend, first_query)
        return _computed_again(self._attend_and_mix, tokens, may_attend, first_query)

    def _attend_and_mix(
        self,
        tokens: Tokens,
        may_attend: Bool[Tensor, "#batch 1 tokens tokens"] | None,
        first_query: int,
    ) -> Float[Tensor, "batch queries dim"]:
        if may_attend is not None:
            may_attend = may_attend[:, :, first_query:]
        # A norm is of each token by itself: those that only answer are spared the query's.
        queries = tokens[:, first_query:]
        query = self._after(self.attention_norm, self.attention.query, queries)
        key_value = self._after(self.attention_norm, self.attention.key_value, tokens)
        return self._add(queries, self.attention.mix(query, key_value, may_attend))

    def apart(self, tokens: Tokens) -> Tokens:
        """Return the tokens after the block where only the first looks at the others."""
        return self._add(tokens, self.attention.apart(self.attention_norm(tokens)))

    def _add(self, tokens: Tokens, attended: Tokens) -> Tokens:
        tokens = tokens + self.attention_output(attended)
        expand, gelu, contract = self.mlp
        return tokens + self._after(gelu, contract, self._after(self.mlp_norm, expand, tokens))

    def _after(self, cheap: nn.Module, layer: nn.Module, inputs: Tensor) -> Tensor:
        """Return layer(cheap(inputs)); the backward pass computes `cheap` again.

        It stops there, before the layer's matrix product. Under `keeps_activations` off
        everything is computed again anyway.
        """
        if not self.keeps_activations:
            return layer(cheap(inputs))
        return _computed_again(lambda x: layer(cheap(x)), inputs)


def _computed_again(function: Callable[..., Tensor], *inputs: object) -> Tensor:
    """Return the function's value, keeping its inputs alone for the backward pass."""
    if not torch.is_grad_enabled():
        return function(*inputs)
    # Nothing in a block is random.
    return checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)


class PostNormAttention(nn.Module):
    """The attention half of a BERT layer: attend, project, add, normalise.

    `extra`, where given, is added to the attended context before the output projection: the
    place where the fusion layer puts its instance-level feature.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(dim, heads)
        self.output = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)

    def forward(
        self,
        words: Float[Tensor, "batch words dim"],
        context: Float[Tensor, "batch keys dim"] | None = None,
        is_valid: Bool[Tensor, "batch keys"] | None = None,
        extra: Float[Tensor, "batch 1 dim"] | None = None,
        dropout: Dropout | None = None,
    ) -> Float[Tensor, "batch words dim"]:
        """Return the words after attending to the context; without one, to each other.

        Without context and with `extra` alone, pass `context` of zero length. `dropout` is of the
        attention's weights and of its output.
        """
        context = words if context is None else context
        of_weights, of_output = per_place(dropout, 2)
        if context.shape[1]:
            may_attend = None if is_valid is None else rearrange(is_valid, "b n -> b 1 1 n")
            attended = self.attention(words, context, may_attend, of_weights)
        else:
            attended = words.new_zeros(words.shape)
        if extra is not None:
            attended = attended + extra
        return self.norm(words + drop(self.output(attended), of_output))


class PostNormMLP(nn.Module):
    """The feed-forward half of a BERT layer: expand, GELU, contract, add, normalise."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)

    def forward(
        self, words: Float[Tensor, "batch words dim"], dropout: Dropout | None = None
    ) -> Float[Tensor, "batch words dim"]:
        """Return the words after the feed-forward half; `dropout` is of its output."""
        return self.norm(words + drop(self.contract(F.gelu(self.expand(words))), dropout))
