"""Where sentences look, over a whole store: maps of every sentence that has a mask.

Each sentence is scored on its own volume and, as a control without content, on the volume of
another patient: a map that points as well there has learned places, not findings.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float

from simcrop.data.preprocessing import Crop, center_crop
from simcrop.data.store import Store
from simcrop.evaluate.grounding import GroundedSentence
from simcrop.evaluate.intervals import LabelIntervals, auroc_intervals
from simcrop.evaluate.zero_shot import PROMPTS, Prompts, zero_shot_scores
from simcrop.train.features import Features
from simcrop.train.pretrained import Pretrained


def ground_store(
    pretrained: Pretrained, store: Store, features: Features
) -> list[GroundedSentence]:
    """Return the maps of all sentences with masks, for the volumes in `features`.

    Args:
        pretrained: gives the sentence embeddings.
        store: gives the masks.
        features: with patch embeddings.

    Raises:
        DataError: if the store has no masks.
    """
    volumes = features.index["volume_id"].tolist()
    row_of = {volume: row for row, volume in enumerate(volumes)}
    other_of = _other_patients(features)
    table = store.need_masks()
    masks = table[table["volume_id"].isin(row_of)]
    texts = sorted(set(masks["sentence"]))
    embeddings = dict(zip(texts, pretrained.embed_sentences(texts), strict=True)) if texts else {}
    patches = features.need_patches()
    grounded = []
    for mask in masks.to_dict("records"):
        row, sentence = row_of[mask["volume_id"]], embeddings[mask["sentence"]]
        grounded.append(
            GroundedSentence(
                study_id=mask["study_id"],
                patient_id=features.index["patient_id"].iloc[row],
                label=mask.get("label") or "finding",
                sentence=mask["sentence"],
                similarity=patches[row] @ sentence,
                swapped_similarity=patches[other_of[row]] @ sentence,
                mask_share=mask_share(store, mask["path"], mask["volume_id"], pretrained),
                is_body=features.is_body[row],
            )
        )
    return grounded


def read_crop(store: Store, volume: str, pretrained: Pretrained) -> Crop:
    """Return the crop of a stored volume that the network sees."""
    return center_crop(*store.read_hu(volume), pretrained.contract)


def crop_mask(
    store: Store, path: str, volume: str, pretrained: Pretrained
) -> Bool[np.ndarray, "x y z"]:
    """Return a stored mask on the crop of its volume; False in the padding."""
    crop = center_crop(store.read_mask(path).astype(np.int16), np.eye(4), pretrained.contract)
    return (crop.voxels > 0) & ~crop.is_padding


def mask_share(
    store: Store, path: str, volume: str, pretrained: Pretrained
) -> Float[np.ndarray, " patches"]:
    """Return the share of each patch that lies in a mask."""
    mask = torch.from_numpy(crop_mask(store, path, volume, pretrained))
    return pretrained.grid.share(mask).numpy()


def _other_patients(features: Features) -> list[int]:
    """Return for each row the next row of another patient (itself, if there is none)."""
    patients = features.index["patient_id"].tolist()
    n = len(patients)
    return [
        next((j % n for j in range(i + 1, i + n) if patients[j % n] != patients[i]), i)
        for i in range(n)
    ]


def zero_shot(
    pretrained: Pretrained, store: Store, features: Features
) -> tuple[tuple[str, ...], LabelIntervals]:
    """Return label names and AUROC of findings from prompts alone, for the volumes given.

    Only labels that have prompts are scored; nothing is fitted.
    """
    table = store.need_labels()
    names = tuple(name for name in table.columns if name in PROMPTS)
    patches = features.need_patches()
    columns = [_score(pretrained, patches, features.is_body, PROMPTS[name]) for name in names]
    labels = table.loc[features.index["study_id"], list(names)].to_numpy(dtype=np.int64)
    patients = features.index["patient_id"].tolist()
    return names, auroc_intervals(np.stack(columns, axis=1), labels, patients)


def _score(
    pretrained: Pretrained,
    patches: Float[np.ndarray, "volumes patches shared"],
    is_body: Bool[np.ndarray, "volumes patches"],
    prompts: Prompts,
) -> Float[np.ndarray, " volumes"]:
    """Return how much better each volume answers the positive than the negative prompts."""
    positive, negative = (
        np.einsum("vpe,se->vsp", patches, pretrained.embed_sentences([*sentences]))
        for sentences in prompts
    )
    return zero_shot_scores(positive, negative, is_body, pretrained.config.alignment.top_k)
