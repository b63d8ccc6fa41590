"""One step of the algorithm: losses, padding, frozen parts, draws."""

from dataclasses import fields, replace
from itertools import product

import pytest
import torch

from simcrop.config import Config
from simcrop.data.samples import Batch, collate
from simcrop.train.optimization import build_optimizer
from simcrop.train.pretrain import Pretraining, step_generator
from tiny_run import batch_of, pretraining, study_dataset, text_states, tiny

TERMS = ("masked_volume", "masked_report", "alignment", "fusion")
LOSS_OF = {
    "masked_volume": "patch_loss",
    "masked_report": "report_loss",
    "alignment": "alignment_loss",
}
SUBSETS = [
    tuple(name for name, is_on in zip(TERMS, switches, strict=True) if is_on)
    for switches in product((True, False), repeat=4)
    if any(switches[:3])
]


def switches(subset: tuple[str, ...]) -> list[str]:
    return [f"terms.{name}={str(name in subset).lower()}" for name in TERMS]


@pytest.fixture(scope="module")
def world(phantom_store, text_encoder):
    """Build (module, dataset) for a configuration, on eight phantoms; text is prepared once."""
    known = {}

    def build(config: Config):
        parts = (config.text, config.masking, config.alignment.sentence_weights)
        key = (*map(str, parts), config.terms.alignment, config.terms.masked_report)
        if key not in known:
            known[key] = text_states(config, phantom_store, text_encoder, num_studies=8)
        texts = known[key]
        dataset = study_dataset(config, phantom_store, texts)
        return pretraining(config, text_encoder, texts, dataset.studies), dataset

    return build


def row(batch: Batch, index: int) -> Batch:
    """One sample of a batch, with the padding it has there."""
    values = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return Batch(**{n: None if v is None else v[index : index + 1] for n, v in values.items()})


def generator() -> torch.Generator:
    return step_generator(0, 0)


def test_there_are_fourteen_subsets_with_a_loss():
    assert len(SUBSETS) == 14


@pytest.mark.parametrize("subset", SUBSETS, ids="+".join)
def test_every_subset_of_terms_gives_its_losses_and_gradients(world, subset):
    module, dataset = world(tiny(*switches(subset)))
    subset = set(subset)
    losses = module.losses(batch_of(dataset, [0, 1, 2]), generator())
    assert set(losses) == {LOSS_OF[name] for name in subset - {"fusion"}}
    total = module.total(losses)
    assert total.isfinite()
    torch.testing.assert_close(total, sum(losses.values()))
    total.backward()
    trained = {n: p for n, p in module.simcrop.named_parameters() if p.requires_grad}
    without = {name for name, p in trained.items() if p.grad is None}
    assert not without
    reads_volume = subset & {"masked_volume", "alignment"} or {"masked_report", "fusion"} <= subset
    assert ("vision_encoder.patch_embedding.projection.weight" in trained) == bool(reads_volume)


@pytest.mark.parametrize(
    "settings",
    [
        ["masking.word_variants=0"],
        ["masking.whole_words=true", "masking.word_variants=2"],
        ["alignment.negatives=batch"],
        ["alignment.negatives=per_image", "alignment.candidates=body"],
        ["alignment.volume_pass=unmasked", "alignment.reach=1"],
        ["alignment.reach=1"],
        ["alignment.sentence_weights=inverse_frequency", "alignment.reduction=sentence"],
        ["alignment.normalise_text=true"],
        ["alignment.standardise=true"],
        ["alignment.standardise=true", "alignment.volume_pass=unmasked"],
        ["terms.normalise_patches=false", "terms.count_padding=true"],
        ["terms.report_positions=all"],
        ["text.vocabulary=full"],
        ["text.long_reports=truncate", "text.max_words=32"],
        ["vision_encoder.position=two_axis"],
        ["fusion.word_patch=false"],
        ["fusion.looks_at=embeddings"],
        ["fusion.instance_level=false"],
        ["volume.padding=air", "volume.crop_shape=[72, 60, 42]"],
        ["augmentation.crop_scale=[0.8, 1.0]", "augmentation.flip_probability=[0.0, 0.5, 0.5]"],
    ],
    ids=" ".join,
)
def test_every_option_gives_finite_losses(world, settings):
    module, dataset = world(tiny(*settings))
    losses = module.losses(batch_of(dataset, [0, 1, 2, 3]), generator())
    assert all(loss.isfinite() for loss in losses.values())
    assert all(loss > 0 for loss in losses.values())


def test_the_total_weighs_the_terms(world):
    module, _ = world(tiny("terms.patch_weight=2", "terms.alignment_weight=0.5"))
    losses = {"patch_loss": 1.0, "report_loss": 10.0, "alignment_loss": 100.0}
    total = module.total({name: torch.tensor(value) for name, value in losses.items()})
    assert total == 2 + 10 + 50


@pytest.mark.parametrize("negatives", ["within_report", "batch", "per_image"])
def test_padding_a_sample_changes_none_of_its_losses(world, negatives):
    module, dataset = world(tiny(f"alignment.negatives={negatives}"))
    module.eval()
    texts = [dataset[0, i].text for i in range(len(dataset))]
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i].report_ids))
    shortest, longest = by_length[0], by_length[-1]
    alone = batch_of(dataset, [shortest])
    padded = row(batch_of(dataset, [shortest, longest]), 0)
    assert padded.report_ids.shape[1] > alone.report_ids.shape[1]
    assert padded.findings_states.shape[1] > alone.findings_states.shape[1]
    expected, found = (module.losses(batch, generator()) for batch in (alone, padded))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)


def test_what_stands_in_padded_places_changes_no_loss(world):
    module, dataset = world(tiny())
    module.eval()
    batch = batch_of(dataset, range(6))
    is_word = batch.sentence_of_word > 0
    noisy = replace(
        batch,
        findings_states=batch.findings_states.where(is_word[..., None], torch.tensor(9.0)),
        report_states=batch.report_states.where(
            batch.report_is_valid[..., None], torch.tensor(9.0)
        ),
        report_ids=batch.report_ids.where(batch.report_is_valid, 7),
        sentence_keys=batch.sentence_keys.where(batch.sentence_is_valid, 7),
        sentence_weights=batch.sentence_weights.where(batch.sentence_is_valid, 7.0),
    )
    expected, found = (module.losses(b, generator()) for b in (batch, noisy))
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)


def test_a_batch_averages_the_faithful_losses_of_its_reports(world):
    module, dataset = world(tiny("alignment.volume_pass=unmasked"))
    module.eval()
    whole = module.losses(batch_of(dataset, [0, 1, 2]), generator())["alignment_loss"]
    parts = [module.losses(batch_of(dataset, [i]), generator())["alignment_loss"] for i in range(3)]
    torch.testing.assert_close(whole, torch.stack(parts).mean(), rtol=1e-4, atol=1e-5)


def test_the_second_pass_is_made_in_every_nth_batch_only(world, monkeypatch):
    settings = ["volume_pass=unmasked", "pass_every=3", "pass_ratio=0.25"]
    module, dataset = world(tiny(*(f"alignment.{setting}" for setting in settings)))
    seen = []
    forward = module.simcrop.forward

    def spy(inputs, masking, second_pass, findings):
        seen.append(None if second_pass is None else second_pass.visible.shape[1])
        return forward(inputs, masking, second_pass, findings)

    monkeypatch.setattr(module.simcrop, "forward", spy)
    batch = batch_of(dataset, [0, 1])
    for number in range(4):
        module._batch_in_update = number
        module.losses(batch, generator())
    module.eval()
    module.losses(batch, generator())
    three_quarters = module.simcrop.grid.num_patches * 3 // 4
    assert seen == [three_quarters, None, None, three_quarters, three_quarters]


def test_the_instance_contrast_tells_studies_apart_and_not_equal_reports(world):
    module, dataset = world(tiny("terms.instance_contrast=true"))
    losses = module.losses(batch_of(dataset, [0, 1, 2]), generator())
    assert set(losses) == {"patch_loss", "report_loss", "alignment_loss", "instance_loss"}
    assert losses["instance_loss"] > 0
    module.total(losses).backward()
    assert module.simcrop.volume_projection[0].weight.grad.any()
    same = module.losses(batch_of(dataset, [0, 0]), generator())
    assert same["instance_loss"] == 0


def test_equal_sentences_may_count_as_positives(world):
    batches = {}
    for duplicates in ("left_out", "positives"):
        settings = [f"alignment.duplicates={duplicates}", "alignment.negatives=batch"]
        module, dataset = world(tiny(*settings))
        torch.manual_seed(0)
        for parameter in module.simcrop.parameters():
            torch.nn.init.normal_(parameter, std=0.02)
        losses = module.losses(batch_of(dataset, range(8)), generator())
        batches[duplicates] = losses["alignment_loss"]
    assert batches["positives"] < batches["left_out"]


def test_reports_without_findings_still_train_the_rest(world):
    module, dataset = world(tiny())
    sample = dataset[0, 0]
    no_sentence = replace(
        sample.text,
        findings_states=sample.text.findings_states[:0],
        sentence_of_word=sample.text.sentence_of_word[:0],
        sentence_keys=sample.text.sentence_keys[:0],
        sentence_weights=sample.text.sentence_weights[:0],
        sentence_is_normal=sample.text.sentence_is_normal[:0],
    )
    for negatives in ("within_report", "batch", "per_image"):
        module, _ = world(tiny(f"alignment.negatives={negatives}", "terms.instance_contrast=true"))
        losses = module.losses(collate([replace(sample, text=no_sentence)] * 2), generator())
        assert losses["alignment_loss"] == 0
        assert losses["instance_loss"] == 0
        module.total(losses).backward()


@pytest.mark.parametrize("recipe", ["tiny", "tiny_recommended"])
def test_the_text_encoder_never_moves(world, recipe, text_encoder):
    config = tiny("masking.word_variants=0", recipe=recipe)
    module, dataset = world(config)
    before = text_encoder.fingerprint()
    module.train()
    assert not any(part.training for part in text_encoder.bert.modules())
    optimizer = build_optimizer(module.simcrop, config.optimizer)
    module.total(module.losses(batch_of(dataset, [0, 1]), generator())).backward()
    optimizer.step()
    assert text_encoder.fingerprint() == before
    assert all(p.grad is None for p in text_encoder.parameters())
    frozen = {id(p) for p in text_encoder.parameters()}
    assert not frozen & {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert not frozen & {id(p) for p in module.parameters()}
    assert not any("bert" in name for name in module.state_dict())


def test_words_outside_the_vocabulary_count_as_unknown(phantom_store, text_encoder, tokenizer):
    config = tiny()
    texts = text_states(config, phantom_store, text_encoder)
    studies = sorted(texts.texts)
    module = pretraining(config, text_encoder, texts, studies[:2])
    assert isinstance(module, Pretraining)
    classes = module.word_class[module.vocabulary]
    assert torch.equal(classes, torch.arange(len(module.vocabulary)))
    outside = set(range(len(tokenizer))) - set(module.vocabulary.tolist())
    unknown = module.word_class[tokenizer.unk_token_id]
    assert (module.word_class[torch.tensor(sorted(outside))] == unknown).all()


def test_no_two_steps_share_their_draws():
    def draw(*key: int) -> float:
        return torch.rand((), generator=step_generator(*key)).item()

    keys = [(seed, step) for seed in (0, 1) for step in (0, 1, 2**31)]
    assert len({draw(*key) for key in keys}) == len(keys)
    assert draw(0, 5) == draw(0, 5)
