import csv
import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simcrop.errors import ConfigError
from simcrop.report.sections import Report, clean, make_report, split_sections
from simcrop.report.tokens import (
    choose_sentences,
    load_tokenizer,
    locate_text_encoder,
    packaged_text_encoder,
    tokenize_findings,
    tokenize_report,
)

SENTENCES = st.sampled_from(
    [
        "Trachea and both main bronchi are open.",
        "Normal.",
        "A solid nodule of 3.5 mm (previously 4 mm) is seen in the right lower lobe; stable.",
        "No pleural effusion.",
        "Interlobular septal thickening, ground-glass opacities and atelectasis are observed in "
        "the posterobasal segments of both lungs (infection? congestion?).",
    ]
)
MANY = st.lists(SENTENCES, max_size=30)


def pieces_of(sentence: str, tokenizer) -> tuple[int, ...]:
    return tuple(tokenizer(clean(sentence), add_special_tokens=False)["input_ids"])


@given(MANY, st.integers(40, 200))
@settings(deadline=None, max_examples=40)
def test_windows_hold_each_sentence_exactly_once(tokenizer, parts, max_words):
    report = Report(" ".join(parts))
    windows, sentences = tokenize_findings(report, tokenizer, max_words=max_words)
    found = {}
    for window in windows:
        assert len(window.ids) == len(window.sentence_of_word) <= max_words
        assert window.ids[0] == tokenizer.cls_token_id
        assert window.ids[-1] == tokenizer.sep_token_id
        assert window.sentence_of_word[0] == window.sentence_of_word[-1] == 0
        for number in set(window.sentence_of_word) - {0}:
            assert number not in found, "a sentence counts in two windows"
            found[number] = tuple(
                piece
                for piece, owner in zip(window.ids, window.sentence_of_word, strict=True)
                if owner == number
            )
    assert sorted(found) == list(range(1, len(sentences) + 1))
    for number, pieces in found.items():
        assert pieces == pieces_of(sentences[number - 1], tokenizer)


@given(MANY)
@settings(deadline=None, max_examples=20)
def test_sentences_are_contiguous_and_in_order(tokenizer, parts):
    for window in tokenize_findings(Report(" ".join(parts)), tokenizer, max_words=60)[0]:
        owners = [owner for owner in window.sentence_of_word if owner]
        assert owners == sorted(owners)


def test_against_transformers_on_the_same_sentences(tokenizer):
    report = make_report("Trachea is open. No nodule of 3.5 mm is seen.", "")
    (window,), _ = tokenize_findings(report, tokenizer)
    assert list(window.ids) == tokenizer(report.findings)["input_ids"]
    assert list(tokenize_report(report, tokenizer)) == tokenizer(report.findings)["input_ids"]


def test_short_sentences_stay_in_the_text_but_do_not_count(tokenizer):
    report = Report("Normal. No pleural effusion is seen. Normal.")
    (window,), sentences = tokenize_findings(report, tokenizer, min_pieces=3)
    assert sentences == ["No pleural effusion is seen."]
    assert list(window.ids) == tokenizer(report.findings)["input_ids"]
    assert tokenize_findings(report, tokenizer, min_pieces=1)[1] == [
        "Normal.",
        "No pleural effusion is seen.",
        "Normal.",
    ]


def test_second_window_opens_with_the_last_sentence_as_context(tokenizer):
    report = Report(" ".join(f"Nodule number {n} is seen." for n in range(8)))
    windows, sentences = tokenize_findings(report, tokenizer, max_words=22)
    context = pieces_of(sentences[max(windows[0].sentence_of_word) - 1], tokenizer)
    assert windows[1].ids[1 : 1 + len(context)] == context
    assert windows[1].sentence_of_word[1 : 1 + len(context)] == (0,) * len(context)


def test_only_a_sentence_longer_than_a_window_is_cut(tokenizer):
    report = Report("No mass is seen. A " + "very " * 50 + "large nodule. No effusion is seen.")
    windows, sentences = tokenize_findings(report, tokenizer, max_words=20)
    lengths = Counter(owner for window in windows for owner in window.sentence_of_word if owner)
    assert len(sentences) == 3
    assert lengths[2] == 18
    assert lengths[1] == len(pieces_of(sentences[0], tokenizer))
    assert lengths[3] == len(pieces_of(sentences[2], tokenizer))


def test_truncation_drops_the_cut_sentence(tokenizer):
    report = Report("No nodule is seen. No pleural effusion is seen.")
    whole = tokenizer(report.findings)["input_ids"]
    options = {"long_reports": "truncate"}
    (window,), sentences = tokenize_findings(report, tokenizer, max_words=10, **options)
    assert sentences == ["No nodule is seen."]
    assert list(window.ids) == [*whole[:9], tokenizer.sep_token_id]
    assert set(window.sentence_of_word[7:]) == {0}
    (window,), sentences = tokenize_findings(report, tokenizer, max_words=len(whole), **options)
    assert len(sentences) == 2
    assert tokenize_report(report, tokenizer, max_words=10, **options) == (
        *whole[:9],
        tokenizer.sep_token_id,
    )


def test_given_sentences_are_used_as_they_are(tokenizer):
    report = make_report("", "", "No nodule is seen. No mass is seen.|No pleural effusion.")
    _, sentences = tokenize_findings(report, tokenizer)
    assert sentences == ["No nodule is seen. No mass is seen.", "No pleural effusion."]


def test_empty_reports_give_nothing(tokenizer):
    for report in (Report(), make_report("nan", None), Report("?")):
        assert tokenize_findings(report, tokenizer) == ([], [])
        assert tokenize_findings(report, tokenizer, long_reports="truncate") == ([], [])
        assert tokenize_report(report, tokenizer, rng=np.random.default_rng(0)) == ()


def test_missing_cells_leave_no_word(tokenizer):
    for impression in ("nan", float("nan"), "Not given."):
        ids = tokenize_report(make_report("No nodule.", impression), tokenizer)
        assert list(ids) == tokenizer("No nodule.")["input_ids"]


def test_long_report_becomes_a_random_run_of_whole_sentences(tokenizer):
    report = Report(" ".join(f"Nodule number {n} is seen." for n in range(20)), "Many nodules.")
    whole = [pieces_of(f"Nodule number {n} is seen.", tokenizer) for n in range(20)]
    whole.append(pieces_of("Many nodules.", tokenizer))
    runs = {
        sum(whole[i:j], ()): (i, j) for i in range(len(whole)) for j in range(i + 1, len(whole) + 1)
    }
    seen = set()
    for seed in range(100):
        rng = np.random.default_rng(seed)
        ids = tokenize_report(report, tokenizer, max_words=40, rng=rng)
        assert len(ids) <= 40
        seen.add(runs[ids[1:-1]])
    assert {start for start, _ in seen} == set(range(len(seen)))
    assert (0, 5) in seen
    assert max(stop for _, stop in seen) == len(whole)
    again = tokenize_report(report, tokenizer, max_words=40, rng=np.random.default_rng(99))
    assert again == ids
    assert tokenize_report(report, tokenizer, max_words=40)[1:-1] == sum(whole[:5], ())


def test_short_report_is_whole_whatever_the_generator(tokenizer):
    report = make_report("Trachea is open. No nodule.", "Normal chest.")
    for seed in range(5):
        ids = tokenize_report(report, tokenizer, rng=np.random.default_rng(seed))
        assert list(ids) == tokenizer(report.full)["input_ids"]


@pytest.mark.parametrize("num_sentences", [0, 1, 64, 65, 80])
def test_chosen_sentences_are_sorted_distinct_and_few_enough(num_sentences):
    chosen = choose_sentences(num_sentences, 64, np.random.default_rng(0))
    assert len(chosen) == min(num_sentences, 64)
    assert (np.diff(chosen) > 0).all()
    assert set(chosen.tolist()) <= set(range(1, num_sentences + 1))


def test_every_sentence_has_the_same_chance_to_be_chosen():
    rng = np.random.default_rng(0)
    counts = Counter(n for _ in range(2000) for n in choose_sentences(10, 4, rng).tolist())
    assert all(abs(counts[n] / 2000 - 0.4) < 0.05 for n in range(1, 11))


def test_window_without_room_is_refused(tokenizer):
    with pytest.raises(ValueError, match="no room"):
        tokenize_findings(Report("No nodule."), tokenizer, max_words=2)


def test_real_reports_fit_and_lose_no_sentence(tokenizer, shared_data):
    with open(shared_data / "ct_reports" / "reports.csv", encoding="utf-8") as file:
        texts = [row["report_text"] for row in csv.DictReader(file)]
    for text in texts[::4]:
        windows, sentences = tokenize_findings(split_sections(text), tokenizer, max_words=256)
        owners = {owner for window in windows for owner in window.sentence_of_word} - {0}
        assert owners == set(range(1, len(sentences) + 1))
        assert max(len(window.ids) for window in windows) <= 256


def test_packaged_encoder_is_a_bert_on_disk():
    config = json.loads((packaged_text_encoder() / "config.json").read_text())
    assert config["model_type"] == "bert"
    assert locate_text_encoder("packaged") == (str(packaged_text_encoder()), True)
    assert locate_text_encoder("owner/name") == ("owner/name", False)


def test_tokenizer_class_of_a_checkpoint_is_not_run(tmp_path, tokenizer):
    """CXR-BERT's layout: a model type and a tokenizer class that need code from the hub."""
    vocabulary = (packaged_text_encoder() / "vocab.txt").read_text(encoding="utf-8")
    (tmp_path / "vocab.txt").write_text(vocabulary, encoding="utf-8")
    code = {"AutoTokenizer": ["configuration_cxrbert.CXRBertTokenizer", None]}
    settings_ = {"tokenizer_class": "CXRBertTokenizer", "do_lower_case": True, "auto_map": code}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings_))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "cxr-bert"}))
    (tmp_path / "configuration_cxrbert.py").write_text("raise SystemExit('code was run')")
    text = "No pleural effusion."
    assert load_tokenizer(str(tmp_path))(text)["input_ids"] == tokenizer(text)["input_ids"]


def test_encoder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="no folder and no hub name"):
        load_tokenizer(str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="no tokenizer could be loaded"):
        load_tokenizer(str(tmp_path))


def test_importing_the_text_layer_is_light():
    code = (
        "import sys, simcrop.report.sections, simcrop.report.sentences, simcrop.report.tokens;"
        "print([m for m in ('torch', 'transformers', 'nupunkt') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": ""}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert result.stdout.strip() == "[]"


def test_a_sentence_without_context_is_a_window_of_its_own(tokenizer):
    report = Report("No nodule is seen. Normal. No pleural effusion is seen.")
    windows, sentences = tokenize_findings(report, tokenizer, context="sentence")
    alone = [tokenize_findings(Report(text), tokenizer, min_pieces=1)[0][0] for text in sentences]
    assert sentences == ["No nodule is seen.", "No pleural effusion is seen."]
    assert [windows[0].ids, windows[2].ids] == [window.ids for window in alone]
    assert set(windows[0].sentence_of_word) == {0, 1}
    assert set(windows[1].sentence_of_word) == {0}, "too short to be aligned"
    assert set(windows[2].sentence_of_word) == {0, 2}
