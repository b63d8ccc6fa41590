"""Where sentences look, over a whole store: maps of every sentence that has a mask.

Each sentence is scored on its own volume and, as controls without content, on the volume of
another patient and on the mean of all others; see `simcrop.evaluate.grounding`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from simcrop.data.store import Store
from simcrop.evaluate.grounded_sentence import OWN, SWAPPED, GroundedSentence
from simcrop.evaluate.position_maps import MeanOfOthers, PositionMaps
from simcrop.evaluate.prompts import PROMPTS
from simcrop.report.negation import is_normal_statement
from simcrop.train.features import Features
from simcrop.train.masks import crop_mask, is_diffuse, mask_geometry, masks_with_sentences
from simcrop.train.pretrained import Pretrained
from simcrop.train.shared_space import Vector, embed_texts

MEAN_OF_OTHERS, RANDOM = "mean of others", "random"


def ground_store(
    pretrained: Pretrained, store: Store, features: Features, *, seed: int = 0
) -> list[GroundedSentence]:
    """Return the maps of all sentences with masks, for the volumes in `features`.

    Args:
        pretrained: gives the sentence embeddings.
        store: gives the masks.
        features: with patch embeddings.
        seed: of the random maps.

    Raises:
        DataError: if the store has no masks.
    """
    volumes = features.index["volume_id"].tolist()
    masks = masks_with_sentences(store, volumes)
    vectors = embed_texts(pretrained, masks["sentence"])
    maps_of = _SimilarityMaps(features)
    generator = np.random.default_rng(seed)
    grounded = []
    for mask in masks.to_dict("records"):
        row, label, text = volumes.index(mask["volume_id"]), mask["label"], mask["sentence"]
        geometry = mask_geometry(crop_mask(store, mask["path"], pretrained), pretrained)
        random = generator.random(len(geometry.share), dtype=np.float32)
        grounded.append(
            GroundedSentence(
                study_id=mask["study_id"],
                patient_id=features.index["patient_id"].iloc[row],
                label=label,
                sentence=text,
                maps={**maps_of.maps(row, vectors[text]), RANDOM: random},
                mask_share=geometry.share,
                is_body=features.is_body[row],
                distance_mm=geometry.distance_mm,
                depth_mm=geometry.depth_mm,
                volume_id=mask["volume_id"],
                mask_path=mask["path"],
                is_diffuse=is_diffuse(label, geometry),
                is_negated=is_normal_statement(text),
            )
        )
    return grounded


def with_position_maps(
    sentences: Sequence[GroundedSentence], position: PositionMaps
) -> list[GroundedSentence]:
    """Return the sentences with the maps of `PositionMaps` among their controls.

    If a sentence has none, because no other patient has a mask, all stay without.
    """
    known = [position.maps_of(one.label, one.sentence, one.patient_id) for one in sentences]
    if not all(known):
        return list(sentences)
    return [
        replace(one, maps={**one.maps, **maps}) for one, maps in zip(sentences, known, strict=True)
    ]


def denials(
    sentences: Sequence[GroundedSentence], pretrained: Pretrained, features: Features
) -> list[GroundedSentence]:
    """Return, for each sentence with a known finding, the finding's denial on the same volume.

    "No pleural effusion is seen." is false there and should not point at the effusion.
    """
    volumes = features.index["volume_id"].tolist()
    texts = {s.label: PROMPTS[s.label].negative[0] for s in sentences if s.label in PROMPTS}
    vectors, maps_of = embed_texts(pretrained, texts.values()), _SimilarityMaps(features)
    return [
        replace(
            one,
            sentence=texts[one.label],
            maps={
                **one.maps,
                **maps_of.maps(volumes.index(one.volume_id), vectors[texts[one.label]]),
            },
            is_negated=True,
        )
        for one in sentences
        if one.label in texts and not one.is_negated
    ]


class _SimilarityMaps:
    """The maps of a sentence on a volume, on another patient's and on the mean of all others."""

    def __init__(self, features: Features) -> None:
        self._patches = features.stored_patches()
        self._patients = features.index["patient_id"].tolist()
        self._others = MeanOfOthers(self._patches, self._patients)

    def maps(self, row: int, sentence: Vector) -> dict[str, Float[np.ndarray, " patches"]]:
        patient = self._patients[row]
        other = _other_patient(self._patients, row)
        own, swapped = (self._patches[i].astype(np.float32) @ sentence for i in (row, other))
        mean = (self._others.of(patient) @ sentence).astype(np.float32)
        return {OWN: own, SWAPPED: swapped, MEAN_OF_OTHERS: mean}


def _other_patient(patients: Sequence[str], row: int) -> int:
    """Return the next row of another patient (the same row, if there is none)."""
    n = len(patients)
    rows = (i % n for i in range(row + 1, row + n))
    return next((i for i in rows if patients[i] != patients[row]), row)
