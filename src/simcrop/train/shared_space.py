"""Whole volumes and whole texts as single vectors of the space that sentences and patches share.

A checkpoint trained with `terms.instance_contrast` has projections for both, and they are used.
Any other gives the mean of a volume's body patches and the mean of a text's sentences, each of
unit length: the paper's method has no vector for the whole (docs/explanation/method.md).
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.functional import normalize

from simcrop.model.projection import pool_sentences
from simcrop.report.sections import Report
from simcrop.report.tokens import tokenize_findings
from simcrop.train.features import Features
from simcrop.train.pretrained import Pretrained

TOP_K, GLOBAL = "top-k", "global"
Vector = Float[np.ndarray, " shared"]


def poolings_of(pretrained: Pretrained) -> tuple[str, ...]:
    """Return in which ways a checkpoint compares texts with volumes, its own way first.

    Raises:
        CheckpointError: if sentences and volumes share no space in it.
    """
    terms = pretrained.simcrop.terms
    if terms.instance_contrast and not terms.alignment:
        return (GLOBAL,)
    pretrained.need_alignment()
    return TOP_K, GLOBAL


def embed_texts(pretrained: Pretrained, texts: Iterable[str]) -> Mapping[str, Vector]:
    """Return the vector of every sentence, each embedded once."""
    distinct = sorted(set(texts))
    vectors = pretrained.embed_sentences(distinct) if distinct else []
    return dict(zip(distinct, vectors, strict=True))


@torch.inference_mode()
def global_volumes(
    pretrained: Pretrained, features: Features
) -> Float[np.ndarray, "volumes shared"]:
    """Return one unit vector per volume; the features with patches."""
    if pretrained.simcrop.terms.instance_contrast:
        tokens = torch.from_numpy(features.pooled["post_norm_gap"]).to(pretrained.device)
        return normalize(pretrained.simcrop.volume_projection(tokens), dim=-1).cpu().numpy()
    rows = zip(features.stored_patches(), features.is_body, strict=True)
    whole = np.stack([patches[body].astype(np.float32).mean(axis=0) for patches, body in rows])
    return whole / np.linalg.norm(whole, axis=1, keepdims=True).clip(1e-8)


@torch.inference_mode()
def global_texts(
    pretrained: Pretrained, texts: Sequence[Sequence[str]], vectors: Mapping[str, Vector]
) -> Float[np.ndarray, "texts shared"]:
    """Return one unit vector per text.

    Args:
        pretrained: a checkpoint with the alignment.
        texts: the sentences of each.
        vectors: of every sentence, for checkpoints without a projection of whole texts.
    """
    if pretrained.simcrop.terms.instance_contrast:
        return np.concatenate([_project_text(pretrained, text) for text in texts])
    means = np.stack([np.mean([vectors[sentence] for sentence in text], axis=0) for text in texts])
    return means / np.linalg.norm(means, axis=1, keepdims=True).clip(1e-8)


def _project_text(
    pretrained: Pretrained, sentences: Sequence[str]
) -> Float[np.ndarray, "1 shared"]:
    """Return the projection of the mean state of all words, in windows as in pre-training."""
    windows, _ = tokenize_findings(
        Report(sentences=tuple(sentences)),
        pretrained.tokenizer,
        max_words=pretrained.config.text.max_words,
        min_pieces=1,
    )
    device = pretrained.device
    states, owners = [], []
    for window in windows:
        ids = torch.tensor([window.ids], device=device)
        states.append(pretrained.text_encoder(ids, torch.ones_like(ids, dtype=torch.bool)))
        owners.append(torch.tensor([window.sentence_of_word], device=device))
    in_sentence = (torch.cat(owners, dim=1) > 0).long()
    whole = pool_sentences(torch.cat(states, dim=1), in_sentence, 1)[:, 0]
    projected = pretrained.simcrop.findings_projection(whole)
    return normalize(projected, dim=-1).float().cpu().numpy()
