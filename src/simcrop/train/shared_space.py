"""Sentences in the space that they share with patches, each embedded once."""

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Float

from simcrop.train.pretrained import Pretrained

Vector = Float[np.ndarray, " shared"]


def embed_texts(pretrained: Pretrained, texts: Iterable[str]) -> Mapping[str, Vector]:
    """Return the vector of every sentence, each embedded once."""
    distinct = sorted(set(texts))
    vectors = pretrained.embed_sentences(distinct) if distinct else []
    return dict(zip(distinct, vectors, strict=True))
