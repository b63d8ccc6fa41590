import base64
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure

from simcrop.evaluate.classification_figures import roc_curves
from simcrop.evaluate.figures import auroc_dots, grounding_figure, loss_curves
from simcrop.evaluate.grounded_sentence import OWN, SWAPPED, GroundedSentence
from simcrop.evaluate.grounding import evaluate_grounding
from simcrop.evaluate.intervals import auroc_intervals
from simcrop.evaluate.slices import paint_patches
from simcrop.evaluate.tables import Table, auroc_table, grounding_table
from simcrop.view.report import (
    CaptionedTable,
    Card,
    Details,
    Picture,
    Section,
    figure_png,
    render_report,
    write_report,
)

SENTENCE = (
    "A <b>solid</b> nodule of 12 mm & more is observed in the left upper lobe; costs $5 or $6."
)
LABELS = ["Lung nodule", "Pleural effusion", "Consolidation", "Cardiomegaly"]


def made_up_scores(strength, seed):
    rng = np.random.default_rng(seed)
    labels = (np.random.default_rng(1).random((150, len(LABELS))) < 0.3).astype(int)
    return labels * np.linspace(0.3, strength, len(LABELS)) + rng.normal(size=labels.shape), labels


def made_up_chest():
    """Two lungs in a body of soft tissue, with a nodule in the patient's left lung."""
    shape, grid, patch = (96, 80, 64), (12, 10, 16), (8, 8, 4)
    x, y, z = (
        np.linspace(-1, 1, n).reshape([-1 if i == axis else 1 for i in range(3)])
        for axis, n in enumerate(shape)
    )
    rng = np.random.default_rng(0)
    hu = np.full(shape, -1000.0)
    hu[np.broadcast_to((x / 0.9) ** 2 + (y / 0.8) ** 2 < 1, shape)] = 40
    for side in (-0.42, 0.42):
        lung = ((x - side) / 0.33) ** 2 + (y / 0.6) ** 2 + ((z - 0.1) / 0.85) ** 2 < 1
        hu[lung] = -820
    mask = ((x + 0.45) / 0.11) ** 2 + ((y - 0.1) / 0.14) ** 2 + ((z - 0.5) / 0.12) ** 2 < 1
    hu[mask] = 30
    share = mask.reshape(12, 8, 10, 8, 16, 4).mean(axis=(1, 3, 5)).ravel()
    similarity = 0.1 * rng.normal(size=share.size) + 0.8 * np.sqrt(share)
    selected = np.zeros(share.size, dtype=bool)
    selected[np.argsort(-similarity)[:6]] = True
    affine = np.diag([3.5, 3.5, 5.0, 1.0])
    affine[:3, 3] = -160, -140, -160
    painted = [paint_patches(values, grid, patch) for values in (similarity, selected)]
    return (hu + 25 * rng.normal(size=shape)).astype(np.int16), affine, *painted, mask


def made_up_grounding():
    rng = np.random.default_rng(2)
    sentences = []
    for i in range(60):
        share = np.zeros(120)
        share[rng.integers(120, size=4)] = 0.6
        similarity = rng.normal(size=120) + 3 * share * (i % 3 > 0)
        sentences.append(
            GroundedSentence(
                f"s{i}", f"p{i}", LABELS[i % 2], SENTENCE,
                {OWN: similarity, SWAPPED: rng.normal(size=120)}, share, np.ones(120, dtype=bool),
                distance_mm=np.where(share > 0, 0.0, 20.0), depth_mm=np.arange(120.0),
            )
        )  # fmt: skip
    return evaluate_grounding(sentences, top_k=3)


def example_report():
    """Return the arguments of a whole report, made of made-up arrays."""
    (good, labels), (poor, _) = made_up_scores(2.5, 3), made_up_scores(0.6, 4)
    ids = [f"patient_{i // 2}" for i in range(len(labels))]
    results = {
        "pre-trained": auroc_intervals(good, labels, ids),
        "untrained": auroc_intervals(poor, labels, ids),
    }
    steps = np.arange(400)
    rng = np.random.default_rng(0)
    metrics = {}
    for i, term in enumerate(("patch_loss", "report_loss", "alignment_loss")):
        curve = (1 + i) * np.exp(-steps / (60 + 50 * i)) + 0.03
        metrics[f"train/{term}"] = curve * np.exp(0.15 * rng.normal(size=400))
        metrics[f"val/{term}"] = np.where(steps % 40 == 0, 1.1 * curve, np.nan)
    hu, affine, similarity, is_selected, mask = made_up_chest()
    chest = grounding_figure(hu, affine, similarity, SENTENCE, mask=mask, is_selected=is_selected)
    grounding = made_up_grounding()
    return {
        "title": "SimCroP demo",
        "subtitle": "60 phantom patients, recipe tiny, seed 0, 2 min 41 s on 2 cores",
        "cards": [
            Card("Mean AUROC of the probe", "0.78", "95 % interval 0.74 to 0.82; untrained 0.57"),
            Card("Pointing hit", "0.52", "swapped volume 0.30, chance 0.14"),
            Card("Patch AUROC", "0.71", "over body patches; chance 0.50"),
            Card("Studies", "48 / 6 / 6", "train / val / test, split by patient"),
        ],
        "sections": [
            Section(
                "What was learned",
                [
                    "The encoder was trained without a single label. A linear classifier on its "
                    "frozen features is compared with the same network before training.",
                    Picture(auroc_dots(LABELS, results), "AUROC on test studies.", "AUROC dots"),
                    CaptionedTable(auroc_table(LABELS, results), "AUROC with 95 % intervals."),
                    Picture(
                        roc_curves(good, labels, LABELS, ids),
                        "ROC of the probe.",
                        "ROC curves",
                    ),
                ],
            ),
            Section(
                "Where each sentence looks",
                [
                    "Similarity of a held-out sentence with every patch.",
                    Picture(chest, f"Study s1: {SENTENCE}", f"Map of: {SENTENCE}"),
                    CaptionedTable(grounding_table(grounding), "Grounding on body patches."),
                ],
            ),
            Section(
                "How training went",
                [Picture(loss_curves(steps, metrics), "Every term on its own.", "Loss curves")],
            ),
            Section(
                "How to repeat it",
                [
                    Details("Configuration", "recipe: tiny\noptimizer:\n  lr: 0.002\n"),
                    Details("Preprocessing contract", "orientation: RAS\nspacing_mm: [8, 8, 12]"),
                ],
            ),
        ],
    }


class Parser(HTMLParser):
    """Collects every tag with its attributes, and all text outside style."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page():
    html = render_report(**example_report())
    return html, Parser(html)


def test_report_asks_for_nothing_outside_itself(page):
    html, parser = page
    links = [
        a[key] for _, a in parser.tags for key in ("src", "href", "action", "data") if key in a
    ]
    assert links
    assert all(link.startswith(("data:image/png;base64,", "#section-")) for link in links)
    assert not parser.all("script")
    assert not parser.all("link")
    assert "://" not in html
    assert "url(" not in html
    assert "@import" not in html


def test_report_escapes_what_users_wrote(page):
    _, parser = page
    assert not parser.all("b")
    assert SENTENCE in parser.text
    assert f"Map of: {SENTENCE}" in [image["alt"] for image in parser.all("img")]
    hostile = '"><script>alert(1)</script>'
    picture = Picture(b"png", hostile, hostile)
    table = CaptionedTable(Table((hostile,), ((hostile,),)), hostile)
    blocks = [hostile, picture, table, Details(hostile, hostile)]
    parser = Parser(
        render_report(
            title=hostile,
            subtitle=hostile,
            cards=[Card(hostile, hostile, hostile)],
            sections=[Section(hostile, blocks)],
        )
    )
    assert not parser.all("script")
    assert parser.all("img")[0]["alt"] == hostile


def test_every_picture_has_a_text_and_is_a_png(page):
    _, parser = page
    images = parser.all("img")
    assert len(images) == 4
    for image in images:
        assert image["alt"]
        png = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"), validate=True)
        assert png.startswith(b"\x89PNG")


def test_contents_lead_to_every_section(page):
    _, parser = page
    targets = [link["href"] for link in parser.all("a")]
    assert targets == [f"#{section['id']}" for section in parser.all("section")]
    ids = [attributes["id"] for _, attributes in parser.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for section in parser.all("section"):
        assert section["aria-labelledby"] in ids


def test_tables_name_their_rows_and_columns(page):
    _, parser = page
    headers = parser.all("th")
    assert {header["scope"] for header in headers} == {"row", "col"}
    assert len(parser.all("caption")) == len(parser.all("table")) == 2


def test_details_are_folded_and_keep_their_lines(page):
    html, parser = page
    assert all("open" not in attributes for attributes in parser.all("details"))
    assert "<pre>recipe: tiny\noptimizer:\n  lr: 0.002\n</pre>" in html


def test_empty_parts_leave_no_trace():
    html = render_report(title="Nothing yet", sections=[])
    assert not Parser(html).all("dl")
    assert not Parser(html).all("section")


def test_the_same_figure_gives_the_same_bytes():
    figures = [Figure(figsize=(2, 1)) for _ in range(2)]
    for figure in figures:
        figure.subplots().plot([1, 2])
    one, other = (figure_png(figure, dpi=50) for figure in figures)
    assert one == other
    assert one[16:24] == (100).to_bytes(4, "big") + (50).to_bytes(4, "big")


def test_write_report_makes_the_folder_and_leaves_one_file(tmp_path):
    path = write_report(tmp_path / "run" / "report.html", title="Ünïcode", sections=[])
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]
    assert "<title>Ünïcode</title>" in path.read_text(encoding="utf-8")
    write_report(path, title="second", sections=[])
    assert "second" in path.read_text(encoding="utf-8")
