"""Which patches belong to a finding? One linear layer on frozen patch tokens, measured by Dice.

A probe of mean tokens says whether a finding is there; this says whether the token of a place knows
what is at that place. Training patients with and without a finding fit the layer, validation
patients choose the threshold, held-out patients who have the finding are measured.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression

from simcrop.data.store import Store
from simcrop.evaluate.items import Items, items_of_groups
from simcrop.evaluate.map_figures import best_dice_threshold, dice, target_patches
from simcrop.train.features import Features
from simcrop.train.masks import crop_mask, mask_share, masks_with_sentences
from simcrop.train.pretrained import Pretrained

NUM_TRAIN = 300
_PENALTY = 1.0  # of unit length weights, on tokens of unit deviation

Shares = Mapping[str, Mapping[str, Float[np.ndarray, " patches"]]]


def shares_of_findings(store: Store, volumes: Sequence[str], encoder: Pretrained) -> Shares:
    """Return by finding, and volume that has it, how much of each patch it fills.

    Several masks of one finding in one volume count together.
    """
    shares: dict[str, dict[str, np.ndarray]] = {}
    for row in masks_with_sentences(store, volumes).to_dict("records"):
        share = mask_share(crop_mask(store, row["path"], encoder), encoder)
        of_finding = shares.setdefault(row["label"], {})
        before = of_finding.get(row["volume_id"])
        of_finding[row["volume_id"]] = share if before is None else np.minimum(before + share, 1)
    return shares


def measure_patch_probe(features: Features, shares: Shares) -> Items:
    """Return the Dice of every finding in every held-out volume that has it, counted in patches.

    Args:
        features: with patch tokens, of training, validation and test volumes.
        shares: of all of them.
    """
    train, val, test = (features.of(split) for split in ("train", "val", "test"))
    ids, patients, labels, values = [], [], [], []
    for label, of_volume in shares.items():
        if not all(_rows(part, of_volume) for part in (train, val, test)):
            continue
        head = fit_patch_layer(train, of_volume)
        threshold = best_dice_threshold(*_maps(head, val, of_volume))
        logits, is_finding, is_body = _maps(head, test, of_volume)
        rows = _rows(test, of_volume)
        ids += [f"{test.index['volume_id'].iloc[row]} {label}" for row in rows]
        patients += [str(test.index["patient_id"].iloc[row]) for row in rows]
        labels += [label] * len(rows)
        values.append(dice(logits, is_finding, is_body, np.full(len(rows), threshold)))
    return items_of_groups("", "patch_dice", ids, patients, labels, np.concatenate(values))


class PatchLayer:
    """One logit per patch from its standardised token."""

    def __init__(
        self, tokens: Float[np.ndarray, "patches dim"], is_finding: Bool[np.ndarray, " patches"]
    ) -> None:
        self._mean, self._deviation = tokens.mean(axis=0), tokens.std(axis=0).clip(1e-6)
        head = LogisticRegression(C=_PENALTY, class_weight="balanced", solver="newton-cholesky")
        self._head = head.fit(self._standard(tokens), is_finding)

    def __call__(self, tokens: Float[np.ndarray, "patches dim"]) -> Float[np.ndarray, " patches"]:
        """Return one logit per patch."""
        return self._head.decision_function(self._standard(tokens))

    def _standard(self, tokens: np.ndarray) -> np.ndarray:
        return (tokens - self._mean) / self._deviation


def fit_patch_layer(train: Features, of_volume: Mapping[str, np.ndarray]) -> PatchLayer:
    """Return the layer for one finding; volumes without a share of it do not have it."""
    tokens, is_finding = [], []
    for row, volume in enumerate(train.index["volume_id"]):
        is_body = train.is_body[row]
        tokens.append(tokens_of(train, row)[is_body])
        share = of_volume.get(volume, np.zeros(len(is_body)))
        is_finding.append(target_patches(share, is_body)[is_body])
    return PatchLayer(np.concatenate(tokens), np.concatenate(is_finding))


def _maps(
    head: PatchLayer, part: Features, of_volume: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return logits, patches that hold the finding and body patches, of volumes that have it."""
    rows = _rows(part, of_volume)
    logits = np.stack([head(tokens_of(part, row)) for row in rows])
    shares = np.stack([of_volume[part.index["volume_id"].iloc[row]] for row in rows])
    is_body = part.is_body[rows]
    return logits, target_patches(shares, is_body).astype(np.float64), is_body


def _rows(part: Features, of_volume: Mapping[str, np.ndarray]) -> list[int]:
    return [row for row, volume in enumerate(part.index["volume_id"]) if volume in of_volume]


def tokens_of(features: Features, row: int) -> Float[np.ndarray, "patches dim"]:
    """Return the patch tokens of one volume."""
    assert features.patch_tokens is not None
    return features.patch_tokens[row].astype(np.float64)  # normed tokens are nearly collinear
