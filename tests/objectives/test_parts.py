"""A batch computed in parts: with the count of the whole, the parts add up to the whole."""

import pytest
import torch

from reference.inputs import PAPER, only, random_inputs
from simcrop.objectives.alignment import select_regions
from simcrop.objectives.contrast import (
    batch,
    contrast_regions,
    contrast_volumes,
    counted_within_report,
    per_image,
    volume_scores,
    within_report,
)
from simcrop.objectives.reconstruction import patch_loss
from simcrop.objectives.report_modelling import report_loss


def test_patches_of_parts_add_up():
    predicted, target = torch.randn(2, 6, 5, 8, dtype=torch.float64)
    is_counted = torch.rand(6, 5, 8) < 0.7
    whole = patch_loss(predicted, target, is_counted=is_counted)
    parts = [
        patch_loss(
            predicted[i], target[i], is_counted=is_counted[i], count=is_counted.sum().double()
        )
        for i in (slice(0, 1), slice(1, 4), slice(4, 6))
    ]
    torch.testing.assert_close(sum(parts), whole)


def test_words_of_parts_add_up_where_one_has_none():
    logits, words = torch.randn(9, 11), torch.randint(11, (9,))
    parts = [
        report_loss(logits[i], words[i], torch.tensor(9.0))
        for i in (slice(0, 2), slice(2, 2), slice(2, 9))
    ]
    torch.testing.assert_close(sum(parts), report_loss(logits, words))


@pytest.mark.parametrize("reduction", ["report", "sentence"])
def test_reports_of_parts_add_up(reduction):
    inputs = random_inputs(seed=3)
    options = PAPER | {"reduction": reduction}
    count = counted_within_report(inputs.said, reduction)
    parts = [
        within_report(only(inputs, b), **options, count=count) for b in range(len(inputs.keys))
    ]
    torch.testing.assert_close(sum(parts), within_report(inputs, **options))


@pytest.mark.parametrize("duplicates_are_positives", [False, True])
def test_what_volumes_contribute_one_by_one_gives_the_loss_of_the_batch(duplicates_are_positives):
    inputs = random_inputs(seed=4)
    loss = {k: v for k, v in PAPER.items() if k != "top_k"}
    loss["duplicates_are_positives"] = duplicates_are_positives
    sentences = inputs.sentences.flatten(0, 1)
    alone = [(inputs.patches[[b]], inputs.is_candidate[[b]]) for b in range(len(inputs.keys))]
    regions = torch.cat(
        [
            select_regions(patches, inputs.sentences[[b]], PAPER["top_k"], is_candidate)
            for b, (patches, is_candidate) in enumerate(alone)
        ]
    )
    scores = torch.cat([volume_scores(p, sentences, PAPER["top_k"], c, 0.3) for p, c in alone])
    options = {**loss, "top_k": PAPER["top_k"]}
    torch.testing.assert_close(
        contrast_regions(inputs.sentences, regions, inputs.said, **loss), batch(inputs, **options)
    )
    torch.testing.assert_close(
        contrast_volumes(scores, inputs.said, **loss),
        per_image(inputs, **options, whole_share=0.3),
    )
