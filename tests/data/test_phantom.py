"""Phantoms: a chest in plausible HU whose every positive sentence names its true voxels."""

import re

import numpy as np
import pytest

from simcrop.data.phantom import LABEL_NAMES, ORGAN_NAMES, Phantom, make_phantom
from simcrop.data.phantom.patient import draw_patient
from simcrop.data.phantom.wording import HOME, PHRASES, Book
from simcrop.data.phantom.wording_away import AWAY

LUNG_LESIONS = ("Lung nodule", "Lung opacity", "Consolidation", "Atelectasis", "Emphysema")
NUMBER = 90


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    return [make_phantom(seed=11, index=i) for i in range(NUMBER)]


@pytest.fixture(scope="module")
def findings(phantoms: list[Phantom]) -> list:
    return [(p, f) for p in phantoms for f in p.findings]


def world(phantom: Phantom, mask: np.ndarray) -> np.ndarray:
    """Return the mean RAS position in mm of the voxels of a mask."""
    return phantom.affine[:3, :3] @ np.argwhere(mask).mean(axis=0) + phantom.affine[:3, 3]


def organ(phantom: Phantom, name: str) -> np.ndarray:
    return phantom.anatomy == ORGAN_NAMES.index(name)


def test_a_phantom_is_a_function_of_seed_and_index() -> None:
    first, again = make_phantom(3, 5), make_phantom(3, 5)
    np.testing.assert_array_equal(first.hu, again.hu)
    assert first.findings_text == again.findings_text
    assert not np.array_equal(first.hu, make_phantom(3, 6).hu)
    assert not np.array_equal(first.hu, make_phantom(4, 5).hu)


def test_volume_has_the_promised_grid_and_type() -> None:
    phantom = make_phantom(0, 0)
    assert phantom.hu.shape == (60, 48, 36)
    assert phantom.hu.dtype == np.int16
    np.testing.assert_allclose(np.diag(phantom.affine), [5.5, 5.5, 8.0, 1.0])
    center = phantom.affine @ [29.5, 23.5, 17.5, 1]
    np.testing.assert_allclose(center, [0, 0, 0, 1], atol=1e-9)


@pytest.mark.parametrize("difficulty", [-0.1, 1.1])
def test_a_difficulty_outside_the_dial_is_refused(difficulty: float) -> None:
    with pytest.raises(ValueError, match="outside 0"):
        make_phantom(0, 0, difficulty)


@pytest.mark.parametrize("spread", [-0.1, 1.1])
def test_a_spread_outside_the_dial_is_refused(spread: float) -> None:
    with pytest.raises(ValueError, match=r"spread .* is outside 0"):
        make_phantom(0, 0, spread=spread)


def test_spread_moves_chests_and_says_the_same_findings() -> None:
    alike, anywhere = (
        [make_phantom(11, i, spread=spread) for i in range(24)] for spread in (0, 1.0)
    )
    for one, other in zip(alike, anywhere, strict=True):
        assert [f.label for f in one.findings] == [f.label for f in other.findings]
        assert all(f.mask.any() for f in other.findings)
    heart = ORGAN_NAMES.index("heart")
    spreads = [
        np.std([np.argwhere(p.anatomy == heart).mean(axis=0) for p in phantoms], axis=0)
        for phantoms in (alike, anywhere)
    ]
    assert (spreads[1] > 1.5 * spreads[0]).all()


def test_a_finer_grid_shows_the_same_patient() -> None:
    coarse = make_phantom(1, 2)
    fine = make_phantom(1, 2, shape=(120, 96, 72), spacing_mm=(2.75, 2.75, 4.0))
    assert fine.findings_text == coarse.findings_text
    blocks = fine.hu.reshape(60, 2, 48, 2, 36, 2).mean(axis=(1, 3, 5))
    assert np.corrcoef(blocks.ravel(), coarse.hu.ravel())[0, 1] > 0.99
    for a, b in zip(coarse.findings, fine.findings, strict=True):
        assert np.linalg.norm(world(coarse, a.mask) - world(fine, b.mask)) < 8


def test_organs_lie_where_a_radiologist_expects_them(phantoms: list[Phantom]) -> None:
    for phantom in phantoms[:20]:
        place = {n: world(phantom, organ(phantom, n)) for n in ORGAN_NAMES[1:]}
        assert place["left lung"][0] < place["heart"][0] < place["right lung"][0]
        assert place["liver"][0] > place["heart"][0] > place["spleen"][0]
        assert place["spine"][1] < place["aorta"][1] < place["heart"][1] + 25
        assert place["liver"][2] < place["heart"][2] < place["trachea and bronchi"][2]


def test_tissues_have_plausible_hu(phantoms: list[Phantom]) -> None:
    normal = [p for p in phantoms if not p.findings]
    assert 0.03 < len(normal) / NUMBER < 0.25
    for phantom in normal:
        lung = np.median(phantom.hu[organ(phantom, "left lung")])
        assert -900 < lung < -690
        assert np.median(phantom.hu[organ(phantom, "trachea and bronchi")]) < -800
        assert 20 < np.median(phantom.hu[organ(phantom, "heart")]) < 240
        assert np.percentile(phantom.hu[organ(phantom, "spine")], 90) > 200
        assert -1030 < np.median(phantom.hu[:, -1]) < -940


def test_patients_have_fat_and_muscle_in_range() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        patient = draw_patient(rng, set(), {"left": 0.0, "right": 0.0})
        assert -120 < patient.fat_hu < -80
        assert 30 <= patient.muscle_hu <= 70
        assert patient.bone_hu + 120 > 200


def test_every_finding_occurs_at_its_prevalence(phantoms: list[Phantom]) -> None:
    present = np.array(
        [[f.label for f in p.findings].count(n) for p in phantoms for n in LABEL_NAMES]
    )
    share = present.reshape(NUMBER, -1).mean(axis=0)
    assert present.max() == 1
    assert share.min() > 0.07
    assert share.max() < 0.4


def test_every_positive_sentence_is_in_the_report_and_has_voxels(findings: list) -> None:
    for phantom, finding in findings:
        assert finding.sentence in phantom.findings_text
        assert finding.mask.shape == phantom.hu.shape
        assert finding.mask.any(), finding.label


def test_no_two_findings_of_a_report_share_a_sentence(phantoms: list[Phantom]) -> None:
    for phantom in phantoms:
        sentences = [f.sentence for f in phantom.findings]
        assert len(set(sentences)) == len(sentences)


def test_absent_findings_are_denied_and_present_ones_never(phantoms: list[Phantom]) -> None:
    num_denied = num_absent = 0
    for phantom in phantoms:
        present = {f.label for f in phantom.findings}
        for label in LABEL_NAMES:
            is_denied = any(denial in phantom.findings_text for denial in PHRASES[label].absent)
            assert not (is_denied and label in present)
            num_absent += label not in present
            num_denied += is_denied
    assert 0.25 < num_denied / num_absent < 0.42


def test_lung_lesions_lie_in_the_lung_side_and_level_that_are_told(findings: list) -> None:
    num_checked = 0
    for phantom, finding in findings:
        if finding.label not in (*LUNG_LESIONS, "Pleural effusion"):
            continue
        lungs = {s: organ(phantom, f"{s} lung") for s in ("left", "right")}
        assert (finding.mask & (lungs["left"] | lungs["right"])).sum() > 0.9 * finding.mask.sum()
        if finding.side in lungs:
            inside = (finding.mask & lungs[finding.side]).sum()
            assert inside > 0.9 * finding.mask.sum()
        if finding.level and finding.side in lungs:
            heights = np.argwhere(lungs[finding.side])[:, 2]
            relative = (np.argwhere(finding.mask)[:, 2].mean() - heights.min()) / np.ptp(heights)
            low, high = {"lower": (0, 0.55), "middle": (0.4, 0.78), "upper": (0.62, 1)}[
                finding.level
            ]
            assert low <= relative <= high, (finding.label, finding.level, relative)
            num_checked += 1
    assert num_checked > 60


def test_the_words_name_the_side_and_level_of_the_finding(findings: list) -> None:
    num_placed = 0
    for _, finding in findings:
        words = set(re.findall(r"[a-z]+", finding.sentence))
        if finding.label not in (*LUNG_LESIONS, "Pleural effusion"):
            continue
        said = words & {"left", "right"}
        assert said <= {finding.side}, finding.sentence
        assert words & {"upper", "middle", "lower"} <= {finding.level}, finding.sentence
        num_placed += bool(said)
    assert num_placed > 0.4 * sum(f.label in LUNG_LESIONS for _, f in findings)


def test_the_size_in_a_sentence_is_the_size_of_the_mask() -> None:
    """On a fine grid a nodule spans what is told, within a voxel and its uneven outline."""
    num_checked = 0
    for index in range(60):
        nodules = [f for f in make_phantom(2, index).findings if f.label == "Lung nodule"]
        if not nodules or nodules[0].count > 1:
            continue
        fine = make_phantom(2, index, shape=(165, 132, 144), spacing_mm=(2.0, 2.0, 2.0))
        mask = next(f.mask for f in fine.findings if f.label == "Lung nodule")
        extent = max(np.ptp(np.argwhere(mask), axis=0) + 1) * 2.0
        assert abs(extent - nodules[0].size_mm) < 0.3 * nodules[0].size_mm
        num_checked += 1
        if num_checked == 4:
            break
    assert num_checked == 4


EXPECTED_HU = {
    "Lung nodule": (-400, 90),
    "Consolidation": (-450, 80),
    "Atelectasis": (-500, 90),
    "Lung opacity": (-780, -380),
    "Emphysema": (-1020, -840),
    "Pleural effusion": (-120, 60),
    "Pericardial effusion": (-120, 70),
    "Arterial wall calcification": (150, 1200),
    "Coronary artery wall calcification": (150, 1200),
    "Cardiomegaly": (20, 240),
}


@pytest.mark.parametrize("label", LABEL_NAMES)
def test_the_true_voxels_look_like_the_finding(findings: list, label: str) -> None:
    values = [np.median(p.hu[f.mask]) for p, f in findings if f.label == label]
    assert len(values) >= 5
    low, high = EXPECTED_HU[label]
    inside = [low < v < high for v in values]
    assert np.mean(inside) > 0.9, (label, np.round(values))
    assert low < np.median(values) < high


def test_the_heart_is_wide_for_the_chest_only_in_cardiomegaly(phantoms: list[Phantom]) -> None:
    ratios: dict[bool, list[float]] = {True: [], False: []}
    for phantom in phantoms:
        heart = np.ptp(np.argwhere(organ(phantom, "heart"))[:, 0])
        lungs = organ(phantom, "left lung") | organ(phantom, "right lung")
        is_large = any(f.label == "Cardiomegaly" for f in phantom.findings)
        ratios[is_large].append(heart / np.ptp(np.argwhere(lungs)[:, 0]))
    assert np.median(ratios[True]) > 0.5 > np.median(ratios[False])


def test_difficulty_shrinks_lesions_and_raises_noise() -> None:
    easy, hard = (make_phantom(11, 0, d) for d in (0.0, 1.0))
    air = (slice(None), slice(-2, None))
    assert hard.hu[air].std() > 1.5 * easy.hu[air].std()
    sizes = {
        d: np.mean([f.size_mm for i in range(15) for f in make_phantom(11, i, d).findings
                    if f.label == "Lung opacity"])
        for d in (0.0, 1.0)
    }  # fmt: skip
    assert sizes[1.0] < 0.7 * sizes[0.0]


def test_another_hospital_says_and_shows_the_same_findings_otherwise() -> None:
    pairs = [(make_phantom(11, i), make_phantom(11, i, away=True)) for i in range(12)]
    air = (slice(None), slice(-2, None))
    for home, away in pairs:
        assert [f.label for f in home.findings] == [f.label for f in away.findings]
        assert all(f.sentence in away.findings_text for f in away.findings)
        assert not {f.sentence for f in home.findings} & {f.sentence for f in away.findings}
        home_tail, away_tail = (np.quantile(one.hu[air], 0.75) + 1000 for one in (home, away))
        assert away_tail > 1.5 * home_tail
    sizes = [
        np.mean([f.size_mm for one in column for f in one.findings if f.label == "Lung opacity"])
        for column in zip(*pairs, strict=True)
    ]
    assert sizes[1] == pytest.approx(0.85 * sizes[0], rel=0.05)


def test_no_sentence_of_another_hospital_is_one_of_ours() -> None:
    def sentences(book: Book) -> set[str]:
        every = [*book.phrases.values(), book.several_nodules]
        return {text for p in every for text in (*p.present, *p.unplaced, *p.absent)}

    assert AWAY.phrases.keys() == HOME.phrases.keys() == set(LABEL_NAMES)
    assert not sentences(AWAY) & sentences(HOME)
