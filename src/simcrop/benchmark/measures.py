"""What is measured of an encoder on held-out phantoms, kept item by item.

probe_100, probe_10, probe_1   scores of a linear probe on that share of the training patients: of
                               mean patch tokens; with " max" of the largest values over patches
zero_shot                      scores from sentences alone, nothing fitted
hit, patch_auroc, ...          where sentences look, beside the maps that cannot know
words_true, words_shuffled     hidden words of findings named rightly, with the true volume and
                               with another patient's
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from simcrop.config import Config
from simcrop.data.body import body_patches
from simcrop.data.preprocessing import center_crop, normalise
from simcrop.data.store import Store
from simcrop.evaluate.grounding import OWN, SWAPPED, evaluate_grounding
from simcrop.evaluate.items import Items, items_of_groups
from simcrop.evaluate.map_figures import target_patches
from simcrop.evaluate.position_maps import POSITION, POSITION_AND_WORDS, PositionMaps
from simcrop.report.places import place_of
from simcrop.train.features import Features, Progress, embed_store
from simcrop.train.grounding import MEAN_OF_OTHERS, ground_store, with_position_maps
from simcrop.train.masks import training_masks
from simcrop.train.pretrained import Pretrained
from simcrop.train.probe import ProbePlan, probe
from simcrop.train.zero_shot import zero_shot_scores_of

FRACTIONS = {"probe_100": 1.0, "probe_10": 0.1, "probe_1": 0.01}
_MAPS = (OWN, SWAPPED, MEAN_OF_OTHERS, POSITION, POSITION_AND_WORDS)
_FIGURES = ("hit", "patch_auroc", "average_precision")


class Ruler:
    """What every cell is measured with: a store, and maps that know no image, made once."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._position: PositionMaps | None = None

    def position_maps(self, encoder: Pretrained) -> PositionMaps:
        """Return the maps of the training masks; all encoders cut volumes into the same patches."""
        if self._position is None:
            self._position = PositionMaps(training_masks(self.store, encoder))
        return self._position


def measure_encoder(
    encoder: Pretrained, ruler: Ruler, seed: int, on_progress: Progress
) -> tuple[Items, ...]:
    """Return every measure that an encoder allows; the seed draws the fractions' patients."""
    has_sentences, store = encoder.simcrop.terms.alignment, ruler.store
    features = embed_store(encoder, store, with_patches=has_sentences, on_progress=on_progress)
    largest = replace(features, volume_embeddings=_largest(features), pooled={})
    items = tuple(
        replace(one, measure=f"{one.measure}{suffix}")
        for of, suffix in ((features, ""), (largest, " max"))
        for one in measure_probes(of, store, seed)
    )
    if not has_sentences:
        return items
    held_out = features.of("test")
    zero_shot = measure_zero_shot(encoder, store, held_out)
    return (*items, zero_shot, *measure_grounding(encoder, ruler, held_out))


def _largest(features: Features) -> Float[np.ndarray, "volumes dim"]:
    """Return the largest value over patches of every channel, which no mean dilutes.

    Of body patches in the space shared with sentences, where there is one, else of all tokens.
    """
    if features.patch_embeddings is None:
        return features.pooled["post_norm_max"]
    rows = zip(features.stored_patches(), features.is_body, strict=True)
    return np.stack([patches[body].max(axis=0) for patches, body in rows]).astype(np.float32)


def measure_probes(features: Features, store: Store, seed: int) -> tuple[Items, ...]:
    """Return the scores of a linear probe on the test volumes for each share of the patients."""
    results = probe(features, store, ProbePlan(fractions=tuple(FRACTIONS.values()), seeds=(seed,)))
    found = {result.fraction: result for result in results}
    return tuple(
        Items("", name, one.opened.volume_ids, one.opened.patient_ids, one.label_names,
              one.scores, one.labels)
        for name, one in ((name, found[fraction]) for name, fraction in FRACTIONS.items())
    )  # fmt: skip


def measure_patch_statistics(config: Config, store: Store, seed: int) -> tuple[Items, ...]:
    """Return what a probe makes of every patch's mean and deviation, without any network."""
    contract = config.contract()
    grid, rows, vectors, is_body = contract.patch_grid, [], [], []
    for split in ("train", "val", "test"):
        for volume in store.volume_ids(split):
            crop = center_crop(*store.read_hu(volume), contract)
            patches = grid.cut(torch.from_numpy(normalise(crop.voxels, contract)))
            vectors.append(torch.cat([patches.mean(dim=1), patches.std(dim=1)]).numpy())
            is_body.append(body_patches(crop, grid))
            patient = str(store.volumes.at[volume, "patient_id"])
            rows.append((volume, store.study_of(volume), patient, split))
    index = pd.DataFrame(rows, columns=["volume_id", "study_id", "patient_id", "split"])
    nothing = pd.DataFrame(columns=["volume_id", "reason"])
    features = Features(index, np.stack(vectors), None, np.stack(is_body), nothing)
    return measure_probes(features, store, seed)


def measure_supervised(
    scores: Float[np.ndarray, "test_volumes labels"], store: Store
) -> tuple[Items, ...]:
    """Return scores that were learned from all labels as one measure."""
    volumes = store.volume_ids("test")
    labels = store.need_labels()
    truth = labels.loc[[store.study_of(volume) for volume in volumes]].to_numpy(dtype=np.int64)
    patients = tuple(store.volumes.loc[volumes, "patient_id"])
    names = tuple(map(str, labels.columns))
    return (Items("", "probe_100", tuple(volumes), patients, names, scores, truth),)


def measure_zero_shot(encoder: Pretrained, store: Store, features: Features) -> Items:
    """Return the scores of every finding from sentences alone."""
    names, scores, labels = zero_shot_scores_of(encoder, store, features)
    index = features.index
    return Items(
        "", "zero_shot", tuple(index["volume_id"]), tuple(index["patient_id"]), names, scores,
        labels,
    )  # fmt: skip


def measure_grounding(encoder: Pretrained, ruler: Ruler, features: Features) -> tuple[Items, ...]:
    """Return where each sentence looks, beside its controls, and the level of chance.

    Names are those of the figure and of the map: `hit` is that of the sentence's own map. Patch
    AUROC is also given for the sentences that name no place.
    """
    sentences = ground_store(encoder, ruler.store, features)
    sentences = with_position_maps(sentences, ruler.position_maps(encoder))
    stated = [one for one in sentences if not one.is_negated and one.has_target]
    if not stated:
        return ()
    top_k = encoder.config.alignment.top_k
    result = evaluate_grounding(stated, top_k=top_k, num_resamples=1)
    names_a_place = np.array([any(place_of(one.sentence)) for one in stated])
    body, share = (
        np.stack([getattr(s, name) for s in stated]) for name in ("is_body", "mask_share")
    )
    target = target_patches(share, body)
    columns = {"chance": target.sum(axis=1) / body.sum(axis=1)}
    for name in (own for own in _MAPS if own in result.values):
        suffix = "" if name == OWN else f" {name}"
        columns |= {f"{f}{suffix}": result.values[name][f] for f in _FIGURES}
        columns[f"patch_auroc unplaced{suffix}"] = np.where(
            names_a_place, np.nan, result.values[name]["patch_auroc"]
        )
    ids = [one.mask_path for one in stated]
    patients, labels = [one.patient_id for one in stated], [one.label for one in stated]
    return tuple(
        items_of_groups("", measure, ids, patients, labels, values)
        for measure, values in columns.items()
    )
