"""The assembly: which terms run, what comes out, who gets a gradient."""

import itertools

import pytest
import torch

from simcrop.geometry import PatchGrid
from simcrop.model.fusion import FusionLayer
from simcrop.model.patch_masking import gather, mask_patches
from simcrop.model.simcrop import SecondPass, SimCroP, SimCroPInput, Terms
from simcrop.model.text_decoder import TextDecoder
from simcrop.model.vision_decoder import VisionDecoder
from simcrop.model.vision_encoder import VisionEncoder

GRID = PatchGrid((8, 8, 8), (2, 4, 2))  # 4 x 2 x 4 patches
TEXT_DIM, VOCABULARY = 10, 17
ALL_ON = Terms()
SUBSETS = [
    terms
    for switches in itertools.product([True, False], repeat=5)
    if (terms := Terms(*switches)).masked_volume or terms.masked_report or terms.shared_space
]


def build(terms=ALL_ON, **settings):
    torch.manual_seed(0)
    has_fusion = terms.masked_report and terms.fusion
    return SimCroP(
        VisionEncoder(GRID, dim=12, depth=2, heads=3),
        vision_decoder=VisionDecoder(GRID, encoder_dim=12, dim=12, depth=2, heads=3)
        if terms.masked_volume
        else None,
        fusion=FusionLayer(12, dim=18, heads=3, mlp_dim=20) if has_fusion else None,
        text_decoder=TextDecoder(VOCABULARY, dim=18, depth=1, heads=3, mlp_dim=20)
        if terms.masked_report
        else None,
        text_dim=TEXT_DIM,
        shared_dim=8,
        report_dim=18,
        terms=terms,
        **settings,
    )


def random_batch():
    draw = torch.Generator().manual_seed(1)
    is_valid = torch.tensor([[True] * 7, [True] * 5 + [False] * 2])
    return SimCroPInput(
        patches=torch.rand(2, GRID.num_patches, GRID.patch_voxels, generator=draw) * 2 - 1,
        findings_states=torch.randn(2, 6, TEXT_DIM, generator=draw),
        sentence_of_word=torch.tensor([[0, 1, 1, 2, 2, 0], [0, 1, 2, 3, 3, 0]]),
        num_sentences=3,
        report_states=torch.randn(2, 7, TEXT_DIM, generator=draw),
        report_is_valid=is_valid,
        report_is_counted=is_valid & (torch.rand(2, 7, generator=draw) < 0.6),
    )


def random_masking():
    return mask_patches(2, GRID.num_patches, 0.75, torch.Generator().manual_seed(2))


def names_without_gradient(model, batch, second_pass=None):
    """Run a step and return the trainable parameters that it left without a gradient."""
    output = model(batch, random_masking(), second_pass)
    terms = [output.predicted_patches, output.word_logits]
    terms += [output.patch_embeddings, output.sentence_embeddings]
    terms += [output.volume_embeddings, output.report_embeddings]
    sum(x.square().sum() for x in terms if x is not None).backward()
    return [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_there_are_thirty_subsets_of_terms_with_a_loss():
    assert len(SUBSETS) == 30


@pytest.mark.parametrize("terms", SUBSETS, ids=str)
def test_fields_are_none_exactly_where_their_term_is_off(terms):
    output = build(terms)(random_batch(), random_masking())
    assert (output.predicted_patches is not None) == terms.masked_volume
    assert (output.word_logits is not None) == terms.masked_report
    for field in (output.patch_embeddings, output.aligned_patches, output.sentence_embeddings):
        assert (field is not None) == terms.alignment
    for field in (output.volume_embeddings, output.report_embeddings):
        assert (field is not None) == terms.instance_contrast


@pytest.mark.parametrize("second_pass", [None, SecondPass()], ids=["one_pass", "two_passes"])
@pytest.mark.parametrize("terms", SUBSETS, ids=str)
def test_every_parameter_gets_a_gradient_in_every_subset(terms, second_pass):
    """A parameter without one stops a distributed run."""
    model = build(terms, reach=None if second_pass is None else 1)
    assert names_without_gradient(model, random_batch(), second_pass) == []


@pytest.mark.parametrize("terms", SUBSETS, ids=str)
def test_the_vision_encoder_trains_unless_nothing_reads_the_volume(terms):
    is_read = terms.masked_volume or terms.shared_space or (terms.masked_report and terms.fusion)
    encoder = build(terms).vision_encoder
    assert {p.requires_grad for p in encoder.parameters()} == {is_read}


def test_a_batch_of_empty_reports_still_gives_every_parameter_a_gradient():
    batch = random_batch()
    batch = batch._replace(
        sentence_of_word=torch.zeros_like(batch.sentence_of_word),
        report_is_counted=torch.zeros_like(batch.report_is_counted),
    )
    model = build()
    assert names_without_gradient(model, batch) == []
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_a_batch_without_any_sentence_or_word_runs():
    """What collation makes of reports that are all empty: axes of length zero."""
    batch = random_batch()._replace(
        findings_states=torch.zeros(2, 0, TEXT_DIM),
        sentence_of_word=torch.zeros(2, 0, dtype=torch.long),
        num_sentences=0,
    )
    output = build()(batch, random_masking())
    assert output.sentence_embeddings.shape == (2, 0, 8)


@pytest.mark.parametrize("seen", [8, 12, 32])
def test_shapes_and_the_patches_behind_the_embeddings(seen):
    batch, masking = random_batch(), random_masking()
    lighter = mask_patches(2, GRID.num_patches, 1 - 12 / 32, torch.Generator().manual_seed(3))
    second_pass = {8: None, 12: SecondPass(lighter.visible), 32: SecondPass()}[seen]
    output = build()(batch, masking, second_pass)
    assert output.predicted_patches.shape == (*masking.masked.shape, GRID.patch_voxels)
    assert output.patch_embeddings.shape == (2, seen, 8)
    assert output.sentence_embeddings.shape == (2, 3, 8)
    assert output.word_logits.shape == (batch.report_is_counted.sum(), VOCABULARY)
    everything = torch.arange(GRID.num_patches).expand(2, -1)
    expected = {8: masking.visible, 12: lighter.visible, 32: everything}[seen]
    assert torch.equal(output.aligned_patches, expected)


def test_whole_volumes_and_reports_are_means_and_know_no_padding():
    model = build(Terms(instance_contrast=True)).eval()
    batch, masking = random_batch(), random_masking()
    output = model(batch, masking)
    tokens = model.vision_encoder(batch.patches, masking.visible).patch_tokens
    expected = model.volume_projection(tokens.mean(dim=1))
    torch.testing.assert_close(output.volume_embeddings, expected)
    assert output.report_embeddings.shape == (2, 8)
    outside = batch.findings_states.clone()
    outside[:, [0, -1]] = 99.0  # special tokens and padding have sentence 0
    again = model(batch._replace(findings_states=outside), masking)
    torch.testing.assert_close(again.report_embeddings, output.report_embeddings)


def test_the_masked_pass_never_sees_hidden_voxels():
    model, batch, masking = build().eval(), random_batch(), random_masking()
    hidden = batch.patches.masked_fill(masking.is_masked[:, :, None], 7.0)
    before, after = model(batch, masking), model(batch._replace(patches=hidden), masking)
    for one, other in zip(before, after, strict=True):
        if one is not None:
            torch.testing.assert_close(one, other)


def test_unmasked_alignment_is_what_embed_patches_gives_and_leaves_the_other_terms_alone():
    model, batch, masking = build().eval(), random_batch(), random_masking()
    masked = model(batch, masking)
    model.reach = 1
    unmasked = model(batch, masking, SecondPass())
    torch.testing.assert_close(unmasked.patch_embeddings, model.embed_patches(batch.patches))
    tokens = model.vision_encoder(batch.patches, reach=1).patch_tokens
    torch.testing.assert_close(unmasked.patch_embeddings, model.image_projection(tokens))
    torch.testing.assert_close(unmasked.predicted_patches, masked.predicted_patches)
    torch.testing.assert_close(unmasked.word_logits, masked.word_logits)


def test_visible_alignment_projects_the_encoder_s_patch_tokens_without_cls():
    model, batch, masking = build().eval(), random_batch(), random_masking()
    tokens = model.vision_encoder(batch.patches, masking.visible).patch_tokens
    output = model(batch, masking)
    torch.testing.assert_close(output.patch_embeddings, model.image_projection(tokens))


def test_without_fusion_the_report_is_decoded_without_the_volume():
    model, batch, masking = build(Terms(fusion=False)).eval(), random_batch(), random_masking()
    dark = batch._replace(patches=torch.zeros_like(batch.patches))
    before, after = model(batch, masking), model(dark, masking)
    assert torch.equal(before.word_logits, after.word_logits)
    model = build().eval()
    before, after = model(batch, masking), model(dark, masking)
    assert not torch.allclose(before.word_logits, after.word_logits)


def test_a_batch_gives_what_its_studies_give_one_by_one():
    model, batch, masking = build().double().eval(), random_batch(), random_masking()
    batch = SimCroPInput(
        *[x.double() if torch.is_tensor(x) and x.is_floating_point() else x for x in batch]
    )
    together = model(batch, masking)
    logits = []
    for b in (slice(0, 1), slice(1, 2)):
        one = SimCroPInput(*[x[b] if torch.is_tensor(x) else x for x in batch])
        alone = model(one, type(masking)(masking.visible[b], masking.masked[b]))
        torch.testing.assert_close(alone.predicted_patches, together.predicted_patches[b])
        torch.testing.assert_close(alone.patch_embeddings, together.patch_embeddings[b])
        torch.testing.assert_close(alone.sentence_embeddings, together.sentence_embeddings[b])
        logits.append(alone.word_logits)
    torch.testing.assert_close(torch.cat(logits), together.word_logits)


def test_a_model_without_weights_of_terms_that_are_off():
    whole = dict(build().named_parameters())
    alone = dict(build(Terms(True, False, False, False)).named_parameters())
    assert {name.split(".")[0] for name in alone} == {"vision_encoder", "vision_decoder"}
    assert alone.keys() < whole.keys()


def test_targets_are_the_cut_patches_in_the_order_of_the_mask():
    """The decoder's rows and the gathered targets name the same patches."""
    batch, masking = random_batch(), random_masking()
    target = gather(batch.patches, masking.masked)
    for b in range(2):
        for row, index in enumerate(masking.masked[b]):
            assert torch.equal(target[b, row], batch.patches[b, index])


def test_bfloat16_autocast_gives_finite_gradients_near_those_of_float32():
    batch, masking, model = random_batch(), random_masking(), build().eval()
    exact = model(batch, masking)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(batch, masking)
    sum(x.float().square().sum() for x in rough if x is not None).backward()
    for one, other in zip(rough, exact, strict=True):
        if one is not None:
            torch.testing.assert_close(one.float(), other.float(), rtol=0, atol=0.1)
    assert all(p.grad.isfinite().all() for p in model.parameters())


def test_the_grid_is_the_vision_encoder_s():
    assert build().grid is GRID
