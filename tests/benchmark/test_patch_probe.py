"""The probe of single patches finds what tokens know, and nothing else."""

import numpy as np
import pandas as pd

from simcrop.benchmark.patch_probe import measure_patch_probe
from simcrop.train.features import Features

NUM, PATCHES, DIM = 60, 20, 6


def features_and_shares(knows: bool):
    rng = np.random.default_rng(0)
    is_finding = rng.random((NUM, PATCHES)) < 0.2
    is_finding[::3] = False  # volumes without the finding
    tokens = rng.normal(size=(NUM, PATCHES, DIM))
    tokens[..., 0] += 8.0 * is_finding * knows
    volumes = [f"v{i}" for i in range(NUM)]
    split = ["train"] * 30 + ["val"] * 15 + ["test"] * 15
    index = pd.DataFrame({"volume_id": volumes, "patient_id": volumes, "split": split})
    shares = {v: own * 0.5 for v, own in zip(volumes, is_finding, strict=True) if own.any()}
    nothing = pd.DataFrame(columns=["volume_id", "reason"])
    is_body = np.ones((NUM, PATCHES), dtype=bool)
    vectors = tokens.mean(axis=1)
    features = Features(index, vectors, None, is_body, nothing, patch_tokens=tokens)
    return features, {"effusion": shares}


def test_tokens_that_know_the_finding_give_its_patches_back():
    features, shares = features_and_shares(knows=True)
    found = measure_patch_probe(features, shares)
    assert found.names == ("effusion",)
    in_test = [v for v in shares["effusion"] if int(v[1:]) >= 45]
    assert found.item_ids == tuple(f"{v} effusion" for v in in_test)
    assert found.values.mean() > 0.95


def test_tokens_that_know_nothing_do_no_better_than_all_patches():
    features, shares = features_and_shares(knows=False)
    found = measure_patch_probe(features, shares)
    assert found.values.mean() < 0.45


def test_a_finding_without_held_out_masks_is_left_out():
    features, shares = features_and_shares(knows=True)
    only_train = {v: s for v, s in shares["effusion"].items() if int(v[1:]) < 30}
    found = measure_patch_probe(features, shares | {"rare": only_train})
    assert found.names == ("effusion",)
