"""Classification heads on a frozen encoder: the authors' linear one and an attentive one."""

import torch
import torch.nn.functional as F
from einops import repeat
from jaxtyping import Float
from torch import Tensor, nn

from simcrop.model.transformer import Attention


class LinearHead(nn.Module):
    """A norm without parameters and one linear layer, which starts at nothing.

    Paper: the authors put a fresh LayerNorm on the averaged patch tokens and freeze it, so that
    it never is more than a standardisation of each volume's own vector (method.md, section 11).
    """

    def __init__(self, dim: int, num_labels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, num_labels)
        nn.init.trunc_normal_(self.linear.weight, std=2e-5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, vectors: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch labels"]:
        """Return the logits."""
        return self.linear(F.layer_norm(vectors, vectors.shape[1:], eps=1e-6))


class AttentiveHead(nn.Module):
    """One learned query looks over all patch tokens, then a linear head.

    A mean over patches drowns a small finding; a query can learn where to look.
    """

    def __init__(self, dim: int, num_labels: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(dim))
        nn.init.trunc_normal_(self.query, std=0.02)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.attention = Attention(dim, heads=max(1, dim // 64))
        self.head = LinearHead(dim, num_labels)

    def forward(self, tokens: Float[Tensor, "batch patches dim"]) -> Float[Tensor, "batch labels"]:
        """Return the logits."""
        query = repeat(self.query, "d -> b 1 d", b=len(tokens))
        return self.head(self.attention(query, self.norm(tokens))[:, 0])
