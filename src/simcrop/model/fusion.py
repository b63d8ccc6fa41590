"""Cross-granularity fusion: words look at patches, and the volume as a whole is added.

    q' = LN(q + SelfAttention(q))                     words among themselves
    c  = CrossAttention(q', m),  m_i = W_m z_i        word-patch level
    u  = LN(q' + W_o(c + W_g mean_i m_i))             instance level
    f  = LN(u + MLP(u))

Paper: section "Cross-granularity fusion"; each granularity is a switch.
"""

from jaxtyping import Float
from torch import Tensor, nn

from simcrop.model.dropout import Dropout, per_place
from simcrop.model.transformer import PostNormAttention, PostNormMLP
from simcrop.types import WordMask


class FusionLayer(nn.Module):
    """One BERT-like layer that brings the volume to the words of the masked report.

    Args:
        patch_dim: width of the vision encoder's tokens.
        dim, heads, mlp_dim: size of the layer (paper: 768, 6, 1,536).
        word_patch: whether words attend to patches.
        instance_level: whether the mean over patches is added to every word.

    Raises:
        ValueError: if both granularities are off; leave the layer out instead.
    """

    def __init__(
        self,
        patch_dim: int,
        *,
        dim: int = 768,
        heads: int = 6,
        mlp_dim: int = 1536,
        word_patch: bool = True,
        instance_level: bool = True,
    ) -> None:
        super().__init__()
        if not (word_patch or instance_level):
            raise ValueError(
                "fusion with neither word-patch nor instance level; expected at least one. "
                "Switch fusion off instead"
            )
        self.word_patch = word_patch
        self.patch_projection = nn.Linear(patch_dim, dim)
        self.instance_projection = nn.Linear(dim, dim) if instance_level else None
        self.words_to_words = PostNormAttention(dim, heads)
        self.words_to_patches = PostNormAttention(dim, heads)
        self.mlp = PostNormMLP(dim, mlp_dim)
        if not word_patch:
            del self.words_to_patches.attention

    def forward(
        self,
        words: Float[Tensor, "batch words dim"],
        is_valid: WordMask,
        patch_tokens: Float[Tensor, "batch patches patch_dim"],
        dropout: Dropout | None = None,
    ) -> Float[Tensor, "batch words dim"]:
        """Return the words with what the volume says; padded words are meaningless."""
        of_words, of_patches, of_mlp = per_place(dropout, 3)
        patches = self.patch_projection(patch_tokens)
        words = self.words_to_words(words, is_valid=is_valid, dropout=of_words)
        volume = patches.mean(dim=1, keepdim=True)
        extra = None if self.instance_projection is None else self.instance_projection(volume)
        context = patches if self.word_patch else patches[:, :0]
        words = self.words_to_patches(words, context, extra=extra, dropout=of_patches)
        return self.mlp(words, of_mlp)
