"""Which words the masked-report branch hides: every word piece, or every whole word, by a coin.

The hidden pieces all become [MASK]; none is kept or replaced by a random word, as in the
authors' lineage (method.md, section 5).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from simcrop.types import WordIds, WordMask


def mask_words(
    ids: WordIds,
    is_valid: WordMask,
    *,
    mask_id: int,
    special_ids: Sequence[int],
    ratio: float,
    generator: torch.Generator,
    word_of_piece: Int[Tensor, "batch words"] | None = None,
) -> tuple[WordIds, WordMask]:
    """Return the ids with hidden words replaced by `mask_id`, and which ones are hidden.

    Each real position is hidden with probability `ratio`, independently. Padding and special
    tokens never are.

    Args:
        ids: word-piece ids, padded.
        is_valid: True for real positions.
        mask_id: the id of [MASK].
        special_ids: ids that stay visible: [CLS], [SEP] and the like.
        ratio: probability in [0, 1].
        generator: source of the draws; the same state gives the same words on any device.
        word_of_piece: positions of a row with the same number are hidden together; numbers lie
            in [0, words). None decides piece by piece, as upstream.

    Differs: upstream hides padded positions too and lets them count in the loss (method.md,
    18.27).

    Raises:
        ValueError: if `ratio` is not a probability.
    """
    if not 0.0 <= ratio <= 1.0:
        raise ValueError(f"word mask ratio {ratio} is not a probability; expected 0 <= ratio <= 1")
    draws = torch.rand(ids.shape, generator=generator, device=generator.device).to(ids.device)
    if word_of_piece is not None:
        draws = draws.gather(dim=1, index=word_of_piece.long())
    is_special = torch.isin(ids, torch.as_tensor(list(special_ids), device=ids.device))
    is_masked = (draws < ratio) & is_valid & ~is_special
    return ids.masked_fill(is_masked, mask_id), is_masked


def word_of_piece(
    ids: WordIds, is_continuation: Bool[Tensor, " vocabulary"]
) -> Int[Tensor, "batch words"]:
    """Number the whole words of each row from 0; a "##" piece has the number of its word."""
    starts_word = ~is_continuation[ids]
    starts_word[:, 0] = False
    return starts_word.cumsum(dim=1)


def continuation_pieces(vocabulary: Sequence[str]) -> Bool[Tensor, " vocabulary"]:
    """Return which entries of a WordPiece vocabulary continue a word, those that open with "##".

    Get the entries in order from `tokenizer.convert_ids_to_tokens(range(len(tokenizer)))`.
    """
    return torch.tensor([piece.startswith("##") for piece in vocabulary])
