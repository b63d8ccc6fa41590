"""Findings from words alone: a positive and a negative sentence compete for the same volume.

A sentence's map is pooled over its K most similar candidate patches, as similarity-driven
pooling does in pre-training; the score of a finding is pooled positive minus pooled negative,
each averaged over its wordings. Scores rank studies (AUROC); they are no probabilities.

Differs: pre-training pools the selected patches' embeddings and then takes a cosine; here the
selected similarities are averaged, which needs the maps only.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float


class Prompts(NamedTuple):
    """Wordings that state a finding and wordings that deny it."""

    positive: tuple[str, ...]
    negative: tuple[str, ...]


def _prompts(subject: str, verb: str = "is") -> Prompts:
    return Prompts(
        (f"{subject} {verb} observed.", f"{subject} {verb} seen."),
        (f"No {subject[0].lower()}{subject[1:]} {verb} seen.", f"{subject} {verb} not observed."),
    )


# One entry per label of CT-RATE, worded like its reports.
PROMPTS: dict[str, Prompts] = {
    "Medical material": Prompts(
        ("A catheter is observed.", "Metallic sutures are observed."),
        ("No catheter is seen.", "No metallic sutures are seen."),
    ),
    "Arterial wall calcification": Prompts(
        ("Calcified plaques are observed in the aorta.", "Aortic wall calcification is seen."),
        ("No calcified plaques are seen in the aorta.", "No aortic wall calcification is seen."),
    ),
    "Cardiomegaly": Prompts(
        ("The heart is enlarged.", "Heart size has increased."),
        ("Heart contour and size are normal.", "The heart is not enlarged."),
    ),
    "Pericardial effusion": _prompts("Pericardial effusion"),
    "Coronary artery wall calcification": Prompts(
        ("Calcified plaques are observed in the coronary arteries.",),
        ("No calcified plaques are seen in the coronary arteries.",),
    ),
    "Hiatal hernia": _prompts("Hiatal hernia"),
    "Lymphadenopathy": Prompts(
        ("Enlarged lymph nodes are observed.", "Lymphadenopathy is seen."),
        ("No enlarged lymph nodes were detected.", "No lymphadenopathy is seen."),
    ),
    "Emphysema": Prompts(
        ("Emphysematous changes are observed in both lungs.", "Emphysema is seen."),
        ("No emphysematous changes are seen in the lungs.", "No emphysema is seen."),
    ),
    "Atelectasis": Prompts(
        ("Atelectasis is observed.", "Linear atelectatic changes are seen."),
        ("No atelectasis is seen.", "Atelectasis is not observed."),
    ),
    "Lung nodule": Prompts(
        ("A pulmonary nodule is observed.", "A nodule is seen in the lung."),
        ("No pulmonary nodule is seen.", "No nodule was detected in the lungs."),
    ),
    "Lung opacity": Prompts(
        ("Ground-glass opacities are observed in the lungs.", "Lung opacity is seen."),
        ("No ground-glass opacities are seen in the lungs.", "No lung opacity is seen."),
    ),
    "Pulmonary fibrotic sequela": Prompts(
        ("Fibrotic sequelae are observed in the lungs.", "Sequela fibrotic changes are seen."),
        ("No fibrotic sequelae are seen in the lungs.", "No sequela fibrotic changes are seen."),
    ),
    "Pleural effusion": _prompts("Pleural effusion"),
    "Mosaic attenuation pattern": _prompts("Mosaic attenuation pattern"),
    "Peribronchial thickening": _prompts("Peribronchial thickening"),
    "Consolidation": _prompts("Consolidation"),
    "Bronchiectasis": _prompts("Bronchiectasis"),
    "Interlobular septal thickening": _prompts("Interlobular septal thickening"),
}


def pool_top_k(
    similarity: Float[np.ndarray, "*batch patches"],
    is_candidate: Bool[np.ndarray, "*#batch patches"],
    top_k: int,
) -> Float[np.ndarray, "*batch"]:
    """Return the mean of the k largest similarities among the candidates of each map.

    With fewer candidates than k all are taken, so a large k is global pooling.

    Raises:
        ValueError: if k is below 1 or a map has no candidate.
    """
    if top_k < 1 or not is_candidate.any(axis=-1).all():
        raise ValueError(f"top_k={top_k}, or a volume without a candidate patch; expected >= 1")
    candidates = np.broadcast_to(is_candidate, similarity.shape)
    descending = -np.sort(np.where(candidates, -similarity, np.inf), axis=-1)
    num_taken = np.minimum(candidates.sum(axis=-1), top_k)
    is_taken = np.arange(similarity.shape[-1]) < num_taken[..., None]
    return np.where(is_taken, descending, 0).sum(axis=-1) / num_taken


def zero_shot_scores(
    positive: Float[np.ndarray, "studies positives patches"],
    negative: Float[np.ndarray, "studies negatives patches"],
    is_candidate: Bool[np.ndarray, "studies patches"],
    top_k: int,
) -> Float[np.ndarray, " studies"]:
    """Return each study's score of one finding from the maps of its positive and negative prompts.

    Raises:
        ValueError: as for `pool_top_k`.
    """
    pooled = [
        pool_top_k(maps, is_candidate[:, None], top_k).mean(axis=1) for maps in (positive, negative)
    ]
    return pooled[0] - pooled[1]
