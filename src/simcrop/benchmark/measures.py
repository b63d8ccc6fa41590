"""What is measured of an encoder on held-out phantoms, kept item by item.

probe_100, probe_10, probe_1   scores of a linear probe on that share of the training patients: of
                               mean patch tokens; with " max" of the largest values over patches
zero_shot                      scores from sentences alone, nothing fitted
hit, patch_auroc, ...          where sentences look, beside the maps that cannot know
recall_K ...                   a report among the first K of all held-out volumes, and back
patch_dice                     of a linear layer on single patch tokens, see `patch_probe`
words_true, words_shuffled     hidden words of findings named rightly, with the true volume and
                               with another patient's

With " away" the same on phantoms of another hospital, by what was fitted at home.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from simcrop.benchmark.patch_probe import measure_patch_probe
from simcrop.benchmark.ruler import Ruler
from simcrop.config import Config
from simcrop.data.body import body_patches
from simcrop.data.preprocessing import center_crop, normalise
from simcrop.data.store import Store
from simcrop.evaluate.grounding import OWN, SWAPPED, evaluate_grounding
from simcrop.evaluate.items import Items, items_of_groups
from simcrop.evaluate.logistic import fit_logistic
from simcrop.evaluate.map_figures import target_patches
from simcrop.evaluate.position_maps import POSITION, POSITION_AND_WORDS
from simcrop.evaluate.retrieval import DEPTHS
from simcrop.report.places import place_of
from simcrop.train.features import Features, Progress, embed_store
from simcrop.train.grounding import MEAN_OF_OTHERS, ground_store, with_position_maps
from simcrop.train.pooling import ALIGNED_MAX
from simcrop.train.pretrained import Pretrained
from simcrop.train.probe_parts import divide, divide_foreign
from simcrop.train.retrieval import retrieve
from simcrop.train.shared_space import poolings_of
from simcrop.train.zero_shot import zero_shot_scores_of

FRACTIONS = {"probe_100": 1.0, "probe_10": 0.1, "probe_1": 0.01}
MAPS = (OWN, SWAPPED, MEAN_OF_OTHERS, POSITION, POSITION_AND_WORDS)
_FIGURES = ("hit", "patch_auroc", "average_precision")


def of_map(figure: str, name: str) -> str:
    """Return the measure that is a figure of a kind of map; that of the own map has its name."""
    return figure if name == OWN else f"{figure} {name}"


def measure_encoder(
    encoder: Pretrained, ruler: Ruler, seed: int, on_progress: Progress
) -> tuple[Items, ...]:
    """Return every measure that an encoder allows; the seed draws the fractions' patients."""
    with tempfile.TemporaryDirectory() as folder:
        return tuple(_measured(encoder, ruler, seed, Path(folder) / "tokens.npy", on_progress))


def _measured(
    encoder: Pretrained, ruler: Ruler, seed: int, tokens_path: Path, on_progress: Progress
) -> list[Items]:
    """Return every measure of one pass over each store; patch tokens lie in a file meanwhile."""
    terms, store = encoder.simcrop.terms, ruler.store
    with_patches = terms.shared_space
    features = embed_store(
        encoder, store, with_patches=with_patches, tokens_path=tokens_path, on_progress=on_progress
    )
    away = None
    if ruler.away is not None:
        away = embed_store(encoder, ruler.away, with_patches=with_patches, on_progress=on_progress)
    found = [*_probes_both_ways(features, away, ruler, seed)]
    few = features.index[features.index["volume_id"].isin(ruler.patch_volumes)]
    found.append(measure_patch_probe(features.spread(few), ruler.shares(encoder)))
    for suffix, part, where in (("", features.of("test"), store), (" away", away, ruler.away)):
        if not terms.shared_space or part is None or where is None:
            continue
        measured = (
            measure_zero_shot(encoder, where, part),
            *measure_grounding(encoder, ruler, part, where),
        )
        found += [replace(one, measure=f"{one.measure}{suffix}") for one in measured]
    if terms.shared_space:
        found += measure_retrieval(encoder, store)
    return found


def _probes_both_ways(
    features: Features, away: Features | None, ruler: Ruler, seed: int
) -> list[Items]:
    """Return the probes of mean and of largest values, at home and away."""
    foreign = None if away is None or ruler.away is None else (away, ruler.away)
    largest = None if foreign is None else (_largest(foreign[0]), foreign[1])
    return [
        *measure_probes(features, ruler.store, seed, away=foreign),
        *measure_probes(_largest(features), ruler.store, seed, " max", away=largest),
    ]


def _largest(features: Features) -> Features:
    """Return them with the largest value over patches of every channel, which no mean dilutes.

    In the space shared with sentences, where there is one, else of the encoder's tokens.
    """
    name = ALIGNED_MAX if ALIGNED_MAX in features.pooled else "post_norm_max"
    return replace(features, volume_embeddings=features.pooled[name])


def measure_probes(
    features: Features,
    store: Store,
    seed: int,
    suffix: str = "",
    *,
    away: tuple[Features, Store] | None = None,
) -> tuple[Items, ...]:
    """Return the scores of a linear probe for each share of the training patients.

    Args:
        features: of the store's volumes.
        store: gives labels and split.
        seed: draws the patients.
        suffix: of the measures' names.
        away: features of another store's volumes, which the same probes are also tested on.
    """
    development, home = divide(features, store)
    held_out = {suffix: home}
    if away is not None:
        held_out[f"{suffix} away"] = divide_foreign(features, store, *away, part="all")[1]
    found = []
    for name, fraction in FRACTIONS.items():
        head = fit_logistic(development.of_fraction(fraction, seed))
        for where, part in held_out.items():
            one = part.open(head)
            found.append(
                Items("", f"{name}{where}", one.volume_ids, one.patient_ids, head.label_names,
                      one.scores, one.labels)
            )  # fmt: skip
    return tuple(found)


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


def measure_retrieval(encoder: Pretrained, store: Store) -> tuple[Items, ...]:
    """Return which held-out reports have their volume among the first K, and the reverse.

    One study a patient; reports of the same words are hits of each other.
    """
    pooling = poolings_of(encoder)[0]
    pool = retrieve(encoder, store, num_resamples=2)["studies"]
    names = ("retrieval",)
    return tuple(
        Items("", f"recall_{k} {one.query} to {one.candidate}", pool.volume_ids, pool.patient_ids,
              names, (one.ranks <= k).astype(float)[:, None])
        for one in pool.recalls[pooling][:2]
        for k in DEPTHS
    )  # fmt: skip


def measure_grounding(
    encoder: Pretrained, ruler: Ruler, features: Features, store: Store
) -> tuple[Items, ...]:
    """Return where each sentence looks, beside its controls, and the level of chance.

    Names are those of the figure and of the map: `hit` is that of the sentence's own map. Patch
    AUROC is also given for the sentences that name no place.
    """
    sentences = ground_store(encoder, store, features)
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
    for name in (own for own in MAPS if own in result.values):
        columns |= {of_map(f, name): result.values[name][f] for f in _FIGURES}
        columns[of_map("patch_auroc unplaced", name)] = np.where(
            names_a_place, np.nan, result.values[name]["patch_auroc"]
        )
    ids = [one.mask_path for one in stated]
    patients, labels = [one.patient_id for one in stated], [one.label for one in stated]
    return tuple(
        items_of_groups("", measure, ids, patients, labels, values)
        for measure, values in columns.items()
    )
