"""The text decoder: the hidden words of the report from fused features.

A trainable, bidirectional BERT-like stack with a masked-word head. No token or position
embedding is added: order comes from the frozen text encoder's states.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from simcrop.model.dropout import Dropout, per_place
from simcrop.model.transformer import PostNormAttention, PostNormMLP
from simcrop.types import WordMask


class TextDecoder(nn.Module):
    """Self-attention layers and a head over the vocabulary (paper: 6 x 768, 6 heads, 30,522)."""

    def __init__(
        self,
        vocabulary_size: int,
        *,
        dim: int = 768,
        depth: int = 6,
        heads: int = 6,
        mlp_dim: int = 1536,
    ) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([PostNormAttention(dim, heads) for _ in range(depth)])
        self.mlps = nn.ModuleList([PostNormMLP(dim, mlp_dim) for _ in range(depth)])
        self.transform = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=1e-12)
        self.vocabulary = nn.Linear(dim, vocabulary_size)

    def forward(
        self,
        words: Float[Tensor, "batch words dim"],
        is_valid: WordMask,
        is_counted: WordMask,
        dropout: Dropout | None = None,
    ) -> Float[Tensor, "counted vocabulary"]:
        """Return logits of the counted words, row by row in the order of `words[is_counted]`.

        The head, the dearest part, runs on the words that enter the loss only.
        """
        drops = per_place(dropout, 2 * len(self.mlps))
        for number, (attention, mlp) in enumerate(zip(self.attentions, self.mlps, strict=True)):
            of_attention, of_mlp = drops[2 * number : 2 * number + 2]
            words = mlp(attention(words, is_valid=is_valid, dropout=of_attention), of_mlp)
        return self.vocabulary(self.norm(F.gelu(self.transform(words[is_counted]))))
