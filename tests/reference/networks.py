"""The networks' formulae for one volume and one report, one vector at a time.

Functions that need weights take a module and read its linear layers and norms by name; the
arithmetic is their own.
"""

import math

import torch
from torch import Tensor, nn

TEMPERATURE = 10_000.0


def position_row(cell: tuple[int, int, int], dim: int) -> list[float]:
    """Sine and cosine of x, then of y, then of z, with dim // 6 frequencies each."""
    frequencies = [TEMPERATURE ** -(i / (dim // 6)) for i in range(dim // 6)]
    row = []
    for place in cell:
        row += [math.sin(place * f) for f in frequencies]
        row += [math.cos(place * f) for f in frequencies]
    return row + [0.0] * (dim - len(row))


def two_axis_row(cell: tuple[int, int, int], dim: int) -> list[float]:
    """Even channels sine of x, odd channels cosine of y; the depth index is never used."""
    row = []
    for i in range(dim // 2):
        frequency = TEMPERATURE ** -(2 * i / dim)
        row += [math.sin(cell[0] * frequency), math.cos(cell[1] * frequency)]
    return row


def linear(layer: nn.Linear, vector: Tensor) -> Tensor:
    return torch.stack([(row * vector).sum() for row in layer.weight]) + layer.bias


def layer_norm(layer: nn.LayerNorm, vector: Tensor) -> Tensor:
    centred = vector - vector.mean()
    scaled = centred / (centred.square().mean() + layer.eps).sqrt()
    return scaled * layer.weight + layer.bias


def gelu(vector: Tensor) -> Tensor:
    return vector * 0.5 * (1 + torch.erf(vector / math.sqrt(2)))


def attend(attention: nn.Module, query: Tensor, context: list[Tensor]) -> Tensor:
    """Softmax attention of one query to the context it may see, head by head."""
    dim = len(query)
    size = dim // attention.heads
    q = linear(attention.query, query)
    keys_values = [linear(attention.key_value, c) for c in context]
    heads = []
    for h in range(attention.heads):
        part = slice(h * size, (h + 1) * size)
        scores = [(q[part] * kv[:dim][part]).sum() / math.sqrt(size) for kv in keys_values]
        total = sum(score.exp() for score in scores)
        heads.append(
            sum(s.exp() / total * kv[dim:][part] for s, kv in zip(scores, keys_values, strict=True))
        )
    return torch.cat(heads)


def post_norm_mlp(mlp: nn.Module, word: Tensor) -> Tensor:
    return layer_norm(mlp.norm, word + linear(mlp.contract, gelu(linear(mlp.expand, word))))


def self_attention(part: nn.Module, words: list[Tensor], is_valid: list[bool]) -> list[Tensor]:
    """q' = LN(q + SelfAttn(q, key mask = text mask))."""
    keys = [w for w, valid in zip(words, is_valid, strict=True) if valid]
    attended = [linear(part.output, attend(part.attention, w, keys)) for w in words]
    return [layer_norm(part.norm, w + a) for w, a in zip(words, attended, strict=True)]


def fuse(layer: nn.Module, words: Tensor, is_valid: list[bool], patches: Tensor) -> Tensor:
    """method.md, section 7, for the words of one report and the visible patches of its volume."""
    m = [linear(layer.patch_projection, z) for z in patches]
    gap = sum(m) / len(m)
    fused = []
    for q in self_attention(layer.words_to_words, list(words), is_valid):
        context = torch.zeros_like(q)
        if layer.word_patch:
            context = context + attend(layer.words_to_patches.attention, q, m)
        if layer.instance_projection is not None:
            context = context + linear(layer.instance_projection, gap)
        projected = linear(layer.words_to_patches.output, context)
        u = layer_norm(layer.words_to_patches.norm, q + projected)
        fused.append(post_norm_mlp(layer.mlp, u))
    return torch.stack(fused)


def decode_words(decoder: nn.Module, words: Tensor, is_valid: list[bool]) -> Tensor:
    """Logits of every word of one report: BERT layers, then the masked-word head."""
    states = list(words)
    for attention, mlp in zip(decoder.attentions, decoder.mlps, strict=True):
        states = [post_norm_mlp(mlp, w) for w in self_attention(attention, states, is_valid)]
    heads = [layer_norm(decoder.norm, gelu(linear(decoder.transform, w))) for w in states]
    return torch.stack([linear(decoder.vocabulary, h) for h in heads])


def decode_patches(
    decoder: nn.Module, cls_token: Tensor, visible_tokens: Tensor, visible: list[int]
) -> Tensor:
    """The plain masked autoencoder: every token in its place, every block on all tokens."""
    places = decoder.position.clone() + decoder.mask_token
    for token, index in zip(visible_tokens, visible, strict=True):
        places[index] = decoder.embedding(token) + decoder.position[index]
    tokens = torch.cat([decoder.embedding(cls_token)[None], places])[None]
    for block in decoder.blocks:
        tokens = block(tokens)
    return decoder.head(decoder.norm(tokens))[0, 1:]


def pool_sentences(words: Tensor, sentence_of_word: list[int], num_sentences: int) -> Tensor:
    """t_j = mean of the words of sentence j; zero without words."""
    means = []
    for j in range(1, num_sentences + 1):
        own = [w for w, number in zip(words, sentence_of_word, strict=True) if number == j]
        means.append(sum(own) / len(own) if own else torch.zeros_like(words[0]))
    return torch.stack(means)
