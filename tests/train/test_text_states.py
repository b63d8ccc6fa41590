from dataclasses import replace

import numpy as np
import pytest
import torch

from simcrop.report.sections import Report
from simcrop.report.sentences import sentence_key
from simcrop.train import state_cache
from simcrop.train.text_states import TextStates
from tiny_run import text_states, tiny

REPORTS = {
    "s1": Report("Lungs are clear. Heart size is normal.", "No acute finding."),
    "s2": Report("Left pleural effusion. Heart size is normal.", "Effusion on the left."),
    "s3": Report("", "Unremarkable chest."),
}
SPECIAL = 101, 102, 103


@pytest.fixture
def make(tokenizer, text_encoder, tmp_path):
    def states_of(*settings, reports=REPORTS, encoder=text_encoder) -> TextStates:
        return TextStates(reports, tiny(*settings), tokenizer, encoder, tmp_path / "text")

    return states_of


def encode(text_encoder, ids) -> torch.Tensor:
    ids = torch.tensor([ids])
    return text_encoder(ids, torch.ones_like(ids, dtype=torch.bool))[0]


def test_cached_states_are_those_of_a_live_run(phantom_store, tiny_config, text_encoder):
    texts = text_states(tiny_config, phantom_store, text_encoder)
    for study in list(texts.texts)[::6]:
        sample = texts.sample(study, 0, {})
        (window,) = texts.texts[study].windows
        live = encode(text_encoder, window.ids)
        # float16 keeps 11 bits; encoding in a padded batch moves the last bits of float32 too
        torch.testing.assert_close(sample.findings_states, live, rtol=2e-3, atol=2e-3)
        live = encode(text_encoder, sample.masked_ids.tolist())
        torch.testing.assert_close(sample.report_states, live, rtol=2e-3, atol=2e-3)


def test_states_are_computed_once(make, text_encoder, monkeypatch):
    first = make()
    monkeypatch.setattr(type(text_encoder), "forward", lambda *_: pytest.fail("encoded again"))
    again = make()
    sample, other = (texts.sample("s1", 0, {}) for texts in (first, again))
    assert torch.equal(sample.findings_states, other.findings_states)
    assert torch.equal(sample.report_states, other.report_states)


def test_the_encoder_goes_to_the_device_only_to_encode_and_comes_back(
    tokenizer, text_encoder, tmp_path, monkeypatch
):
    moves: list[str | torch.device] = []
    monkeypatch.setattr(type(text_encoder), "to", lambda _, place: moves.append(place))
    for _ in range(2):
        folder = tmp_path / "text"
        TextStates(REPORTS, tiny(), tokenizer, text_encoder, folder, device="cpu:0")
    home = next(text_encoder.parameters()).device
    assert moves == ["cpu:0", home] * 2  # findings and hidden words, in the first round alone


def test_another_report_is_encoded_anew(make):
    make()
    changed = REPORTS | {"s1": Report("Nodule in the right upper lobe.", "Nodule.")}
    sample = make(reports=changed).sample("s1", 0, {})
    before = make().sample("s1", 0, {})
    assert sample.findings_states.shape != before.findings_states.shape


def test_a_half_written_cache_is_not_used(make, tmp_path):
    make()
    for folder in [path for path in (tmp_path / "text").iterdir() if path.is_dir()]:
        folder.rename(folder.with_name(folder.name + ".unfinished"))
        (folder.with_name(folder.name + ".unfinished") / "states.npy").write_bytes(b"half")
    assert make().sample("s1", 0, {}).findings_states.isfinite().all()


def test_an_encoding_that_was_stopped_goes_on_where_it_was(make, text_encoder, monkeypatch):
    many = {f"s{i}": Report(f"Nodule of {i} mm in the right lung.", "Nodule.") for i in range(200)}
    settings = ("terms.masked_report=false",)
    whole = make(*settings, "text.max_words=40", reports=many)
    monkeypatch.setattr(state_cache, "_NOTE_EVERY", 64)
    forward, counts = type(text_encoder).forward, []

    def stopped(self, ids, valid):
        if sum(counts) >= 160:
            raise KeyboardInterrupt
        counts.append(len(ids))
        return forward(self, ids, valid)

    other = {f"t{name}": report for name, report in many.items()} | {"last": REPORTS["s1"]}
    with monkeypatch.context() as patch:
        patch.setattr(type(text_encoder), "forward", stopped)
        with pytest.raises(KeyboardInterrupt):
            make(*settings, reports=other)
    counts.clear()
    with monkeypatch.context() as patch:
        patch.setattr(
            type(text_encoder),
            "forward",
            lambda self, ids, valid: counts.append(len(ids)) or forward(self, ids, valid),
        )
        again = make(*settings, reports=other)
    assert sum(counts) == 201 - 128  # noted after each 64
    for name in many:
        found, expected = again.sample(f"t{name}", 0, {}), whole.sample(name, 0, {})
        torch.testing.assert_close(
            found.findings_states, expected.findings_states, rtol=2e-3, atol=2e-3
        )


def test_windows_of_a_long_report_are_joined(make, text_encoder):
    sentences = [f"Nodule number {i} in segment {i} of the right lung." for i in range(12)]
    long = {"s1": Report(" ".join(sentences), "Nodules.")}
    texts = make("text.max_words=40", reports=long)
    windows = texts.texts["s1"].windows
    assert len(windows) > 2
    sample = texts.sample("s1", 0, {})
    joined = torch.cat([encode(text_encoder, window.ids) for window in windows])
    torch.testing.assert_close(sample.findings_states, joined, rtol=2e-3, atol=2e-3)
    assert len(sample.sentence_of_word) == len(joined)
    assert sample.sentence_of_word.unique().tolist() == [0, *range(1, len(sentences) + 1)]
    assert sample.sentence_keys.tolist() == [sentence_key(text) for text in sentences]


def test_a_sentence_without_context_says_the_same_in_every_report(make):
    spoken = {}
    for context in ("report", "sentence"):
        texts = make(f"text.context={context}")
        spoken[context] = [
            sample.findings_states[sample.sentence_of_word == 2]
            for sample in (texts.sample(study, 0, {}) for study in ("s1", "s2"))
        ]
    assert torch.equal(*spoken["sentence"])
    assert not torch.allclose(*spoken["report"], atol=1e-2)


def test_a_wording_is_encoded_once_however_many_reports_use_it(make, text_encoder, monkeypatch):
    counts = []
    forward = type(text_encoder).forward
    monkeypatch.setattr(
        type(text_encoder),
        "forward",
        lambda self, ids, valid: counts.append(len(ids)) or forward(self, ids, valid),
    )
    make("text.context=sentence", "terms.masked_report=false")
    assert sum(counts) == 3, "two of four sentences are the same"


def test_a_long_report_is_masked_in_a_window(make):
    sentences = [f"Nodule number {i} in segment {i} of the right lung." for i in range(12)]
    long = {"s1": Report(" ".join(sentences), "Nodules.")}
    texts = make("text.max_words=40", "masking.word_variants=0", reports=long)
    shown = [texts.sample("s1", epoch, {}).report_ids for epoch in range(6)]
    assert all(len(ids) <= 40 for ids in shown)
    assert len({tuple(ids.tolist()) for ids in shown}) > 1


@pytest.mark.parametrize("variants", [0, 1, 3])
@pytest.mark.parametrize("whole_words", ["true", "false"])
def test_only_real_words_are_hidden_and_targets_stay(make, variants, whole_words):
    texts = make(f"masking.word_variants={variants}", f"masking.whole_words={whole_words}")
    for study in REPORTS:
        for epoch in range(4):
            sample = texts.sample(study, epoch, {})
            special = torch.isin(sample.report_ids, torch.tensor(SPECIAL))
            assert special.sum() == 2
            assert not (sample.is_masked & special).any()
            assert (sample.masked_ids[sample.is_masked] == 103).all()
            kept = ~sample.is_masked
            assert torch.equal(sample.masked_ids[kept], sample.report_ids[kept])
            assert sample.is_masked.any()
            assert (sample.report_states is None) == (variants == 0)


def test_variants_are_drawn_anew_in_every_epoch_and_live_masking_never_repeats(make):
    def draws(variants: int) -> set[tuple[int, ...]]:
        texts = make(f"masking.word_variants={variants}")
        samples = [texts.sample("s1", epoch, {}) for epoch in range(12)]
        return {tuple(sample.masked_ids.tolist()) for sample in samples}

    assert len(draws(1)) == 1
    assert len(draws(3)) == 3
    assert len(draws(0)) > 8


def test_a_sample_is_a_function_of_seed_epoch_and_study(make):
    live = "masking.word_variants=0"
    once, again, other = make(live), make(live), make(live, "seed=1")
    ids = [texts.sample("s2", 3, {}).masked_ids.tolist() for texts in (once, again, other)]
    assert ids[0] == ids[1] != ids[2]


def test_a_report_without_findings_has_no_sentence_to_align(make):
    sample = make().sample("s3", 0, {})
    assert sample.findings_states.shape[0] == 0
    assert sample.sentence_keys.shape == (0,)
    assert len(sample.report_ids) > 2


def test_no_report_with_findings_at_all_is_allowed(make):
    texts = make(reports={"s3": REPORTS["s3"]})
    assert texts.sample("s3", 0, {}).findings_states.shape == (0, 384)


def test_states_of_a_term_that_is_off_are_not_computed(make):
    sample = make("terms.alignment=false").sample("s1", 0, {})
    assert sample.findings_states.shape[0] == sample.sentence_of_word.shape[0] == 0
    sample = make("terms.masked_report=false").sample("s1", 0, {})
    assert sample.report_ids.shape == (0,)
    assert sample.findings_states.shape[0] > 0


def test_sentences_beyond_the_limit_are_sampled_anew_in_every_epoch(make):
    sentences = tuple(f"Finding number {i} is present." for i in range(8))
    reports = {"s1": replace(REPORTS["s1"], sentences=sentences)}
    texts = make("text.max_sentences=3", reports=reports)
    chosen = [texts.sample("s1", epoch, {}) for epoch in range(8)]
    assert all(len(sample.sentence_keys) == 3 for sample in chosen)
    assert len({tuple(sample.sentence_keys.tolist()) for sample in chosen}) > 1
    for sample in chosen:
        assert sample.sentence_of_word.unique().tolist() == [0, 1, 2, 3]


def test_equal_weights_are_one(make):
    weights = make().sentence_weights(["s1", "s2"])
    assert set(weights.values()) == {1.0}
    assert len(weights) == 3


def test_rare_sentences_weigh_more_and_the_mean_is_one(make):
    weights = make("alignment.sentence_weights=inverse_frequency").sentence_weights(["s1", "s2"])
    common = weights[sentence_key("Heart size is normal.")]
    rare = weights[sentence_key("Lungs are clear.")]
    assert rare / common == pytest.approx(np.log(3) / np.log(2))
    assert (2 * common + 2 * rare) / 4 == pytest.approx(1)
    assert rare == weights[sentence_key("Left pleural effusion.")]


def test_a_sentence_that_training_never_said_weighs_as_the_rarest(make):
    texts = make("alignment.sentence_weights=inverse_frequency")
    weights = texts.sentence_weights(["s1"]) | {0: 5.0}
    sample = texts.sample("s2", 0, weights)
    known = weights[sentence_key("Heart size is normal.")]
    assert sample.sentence_weights.tolist() == pytest.approx([5.0, known])


def test_the_corpus_vocabulary_holds_training_words_and_special_ones(make, tokenizer):
    texts = make("text.vocabulary=corpus")
    vocabulary = texts.vocabulary(["s1"])
    expected = set(texts.texts["s1"].report_ids) | set(tokenizer.all_special_ids)
    assert set(vocabulary.tolist()) == expected
    assert torch.equal(vocabulary, vocabulary.sort().values)
    assert tokenizer.unk_token_id in expected
    full = make("text.vocabulary=full").vocabulary(["s1"])
    assert torch.equal(full, torch.arange(len(tokenizer)))


@pytest.mark.parametrize("variants", [0, 1])
def test_a_mirrored_study_has_its_sides_swapped_in_findings_and_report(make, tokenizer, variants):
    texts = make("augmentation.swap_sides=true", f"masking.word_variants={variants}")
    swapped = make(reports={"s2": Report("Right pleural effusion. Heart size is normal.",
                                         "Effusion on the right.")})  # fmt: skip
    weights = texts.sentence_weights(["s2"])
    found, expected = texts.mirrored_sample("s2", 0, weights), swapped.sample("s2", 0, weights)
    assert torch.equal(found.sentence_keys, expected.sentence_keys)
    assert torch.equal(found.report_ids, expected.report_ids)
    torch.testing.assert_close(found.findings_states, expected.findings_states, rtol=0, atol=1e-2)
    as_it_is = texts.sample("s2", 0, weights)
    assert not torch.equal(as_it_is.report_ids, found.report_ids)
    right = tokenizer.convert_tokens_to_ids("right")
    assert right in texts.vocabulary(["s2"])
    assert right not in make().vocabulary(["s2"])
