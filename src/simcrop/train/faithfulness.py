"""How sentences answer when their finding is erased and when the volume is mirrored."""

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from jaxtyping import Bool, Float

from simcrop.data.preprocessing import Crop
from simcrop.data.store import Store
from simcrop.evaluate.edits import erase, mirror, mirror_patches, moved_region
from simcrop.evaluate.faithfulness import Answers, preferred
from simcrop.evaluate.grounded_sentence import GroundedSentence
from simcrop.evaluate.map_figures import at_peak, target_patches
from simcrop.evaluate.zero_shot import pool_top_k
from simcrop.report.places import names_one_side
from simcrop.report.sides import swap_sides
from simcrop.train.features import Progress
from simcrop.train.masks import crop_mask, mask_share, read_crop
from simcrop.train.pretrained import Pretrained
from simcrop.train.shared_space import Vector, embed_texts

Patches = Float[np.ndarray, "patches shared"]


def answers_of(
    pretrained: Pretrained,
    store: Store,
    sentences: Sequence[GroundedSentence],
    *,
    top_k: int,
    seed: int = 0,
    on_progress: Progress = lambda done, total, what: None,
) -> list[Answers]:
    """Return how every sentence with a target answers to edits of its volume.

    Each volume is encoded once as it is and once mirrored, and twice per sentence: without the
    finding, and without another region of the same shape.
    """
    texts = [s.sentence for s in sentences]
    vectors = embed_texts(pretrained, [*texts, *map(swap_sides, texts)])
    generator = np.random.default_rng(seed)
    answers: list[Answers] = []
    for volume, group in groupby(sentences, key=lambda s: s.volume_id):
        crop = read_crop(store, volume, pretrained)
        own, mirrored = embed_crops(pretrained, [crop, mirror(crop)])
        for one in group:
            mask = crop_mask(store, one.mask_path, pretrained)
            judge = _Judge(one, vectors, pretrained, top_k)
            erased = judge.erased(crop, mask, own, generator)
            answers.append(Answers(**erased, **judge.mirrored(own, mirrored)))
            on_progress(len(answers), len(sentences), "erase and mirror")
    return answers


def embed_crops(pretrained: Pretrained, crops: list[Crop]) -> list[Patches]:
    """Return the patches of crops in the shared space, unit length."""
    return list(pretrained.embed_encoded(pretrained.encode(crops)).cpu().numpy())


class _Judge:
    """One sentence on edited volumes; candidates stay those of the volume as it is."""

    def __init__(
        self,
        sentence: GroundedSentence,
        vectors: Mapping[str, Vector],
        pretrained: Pretrained,
        top_k: int,
    ) -> None:
        self._pretrained, self._top_k = pretrained, top_k
        self._body = sentence.is_body
        self._target = target_patches(sentence.mask_share, self._body)
        self._text = sentence.sentence
        self._vector = vectors[self._text]
        self._swapped = vectors[swap_sides(self._text)]

    def _score(self, patches: Patches, vector: Vector) -> float:
        return self._pool(patches @ vector, self._body)

    def _pool(self, similarity: np.ndarray, is_candidate: np.ndarray) -> float:
        return pool_top_k(similarity[None], is_candidate[None], self._top_k).item()

    def erased(
        self,
        crop: Crop,
        mask: Bool[np.ndarray, "x y z"],
        own: Patches,
        generator: np.random.Generator,
    ) -> dict[str, float]:
        """Return the falls by erasing the finding and another region, empty without the latter."""
        moved = moved_region(crop, mask, generator)
        if moved is None:
            return {}
        elsewhere = target_patches(mask_share(moved, self._pretrained), self._body)
        if not elsewhere.any():
            return {}
        without, control = embed_crops(self._pretrained, [erase(crop, mask), erase(crop, moved)])
        region = float(((own - without) @ self._vector)[self._target].mean())
        other = float(((own - control) @ self._vector)[elsewhere].mean())
        before = self._score(own, self._vector)
        fall, other_fall = (before - self._score(p, self._vector) for p in (without, control))
        return {
            "region_drop": region,
            "control_drop": other,
            "drop_difference": region - other,
            "score_drop": fall,
            "control_score_drop": other_fall,
            "prefers_region": preferred(fall - other_fall),
        }

    def mirrored(self, own: Patches, mirrored: Patches) -> dict[str, float]:
        """Return what mirroring does; empty for a finding in the middle or on both sides."""
        shape = self._pretrained.grid.shape
        there = mirror_patches(self._target, shape)
        found: dict[str, float] = {}
        if not (there & self._target).any():
            body = mirror_patches(self._body, shape)
            found["hit"] = _points_at(self._target, own @ self._vector, self._body)
            found["mirrored_hit"] = _points_at(there, mirrored @ self._swapped, body)
            found["stayed_hit"] = _points_at(self._target, mirrored @ self._vector, body)
        if names_one_side(self._text):
            body = mirror_patches(self._body, shape)
            lead = self._score(own, self._vector) - self._score(own, self._swapped)
            mirrored_lead = self._pool(mirrored @ self._vector, body) - self._pool(
                mirrored @ self._swapped, body
            )
            found["side_preferred"] = preferred(lead)
            found["mirrored_side_preferred"] = preferred(mirrored_lead)
            found["side_answers"] = preferred(lead - mirrored_lead)
        return found


def _points_at(is_target: np.ndarray, similarity: np.ndarray, is_body: np.ndarray) -> float:
    return float(at_peak(is_target[None], similarity[None], is_body[None]).item())
