"""What the tables make of finished cells: groups of findings, claims, costs."""

import numpy as np
import pytest

from simcrop.benchmark.claims import CLAIMS
from simcrop.benchmark.columns import ANYWHERE_IN_A_LUNG, MEASURES
from simcrop.benchmark.measures import MAPS, of_map
from simcrop.benchmark.summary import Summary
from simcrop.benchmark.tables import findings_table, maps_table, tables, variants_table
from simcrop.benchmark.variants import VARIANTS
from simcrop.evaluate.items import Items, items_of_groups
from simcrop.evaluate.results import Result

LABELS = ("Lung nodule", "Consolidation", "Cardiomegaly")
IDS = tuple(f"p{i}" for i in range(60))


def sentences(measure: str, hits: dict[str, float]) -> Items:
    """Return twenty sentences of each finding, of which so large a share hits."""
    values = np.concatenate([np.arange(20) < 20 * hits[label] for label in LABELS]).astype(float)
    return items_of_groups("", measure, IDS, IDS, np.repeat(LABELS, 20).tolist(), values)


def result(items: list[Items], **seconds: float) -> Result:
    figures = {"cpu_seconds": seconds}
    return Result("simcrop benchmark", figures, {}, "", (1,), {}, items=tuple(items))


@pytest.fixture
def summary():
    own = {"Lung nodule": 0.5, "Consolidation": 0.7, "Cardiomegaly": 1.0}
    control = dict.fromkeys(LABELS, 0.1) | {"Cardiomegaly": 0.9}
    measures = [sentences(of_map("hit", kind), control) for kind in MAPS[1:]]
    measures += [sentences("hit", own), sentences("chance", dict.fromkeys(LABELS, 0.1))]
    summary = Summary([], {})
    summary.results = {
        "recommended": {
            1: result(measures, train=600, evaluate=60, segment=480),
            2: result(measures, train=540, evaluate=60),
        },
        "supervised": {1: result([], train=240)},
    }
    return summary


def test_a_group_of_findings_is_their_mean(summary):
    group = summary.mean("recommended", "hit", ANYWHERE_IN_A_LUNG)
    assert group.value == pytest.approx(0.6)
    assert summary.mean("recommended", "hit").value == pytest.approx(2.2 / 3)
    assert summary.mean("recommended", "hit", ("Emphysema",)) is None
    assert summary.mean("supervised", "hit") is None


def test_our_own_variant_is_shown_from_near_the_recommended_one_first(summary):
    assert summary.best == "recommended"
    of = summary.results.pop("recommended")
    assert summary.best is None
    summary.results["per_image"] = of
    assert summary.best == "per_image"
    captions = [caption for caption in tables(summary, 3) if "finding by finding" in caption]
    assert captions == [f"{VARIANTS['per_image'].says}: finding by finding"]


def test_claims_of_a_group_take_its_findings_alone(summary):
    found = summary.differences()
    assert found[
        "c: recommended, anywhere in a lung, hit over position alone"
    ].value == pytest.approx(0.5)
    assert found["c: recommended, own volume over position alone"].value == pytest.approx(1.1 / 3)


def test_hits_of_sentences_that_name_no_place_are_those_that_have_such_a_patch_auroc(summary):
    runs = summary.results["recommended"]
    for seed, one in runs.items():
        is_unplaced = np.arange(60) % 20 < 5  # the first of every finding, which hit
        values = np.where(is_unplaced, 0.8, np.nan)
        unplaced = items_of_groups(
            "", "patch_auroc unplaced", IDS, IDS, np.repeat(LABELS, 20).tolist(), values
        )
        runs[seed] = result([*one.items, unplaced], train=600)
    assert summary.mean("recommended", "hit unplaced").value == 1.0
    assert summary.mean("recommended", "chance unplaced").value == pytest.approx(1.2 / 3)
    assert summary.mean("recommended", "hit").value == pytest.approx(2.2 / 3)
    assert summary.mean("supervised", "hit unplaced") is None


def test_claims_are_of_measures_and_variants_that_there_are():
    says = [claim.says for claim in CLAIMS]
    assert len(set(says)) == len(says)
    for claim in CLAIMS:
        assert {claim.variant, claim.other} <= VARIANTS.keys()
        assert {claim.measure, claim.other_measure or claim.measure} <= set(MEASURES)


def test_costs_of_stages_stand_apart_and_a_unetr_counts_where_it_was_trained(summary):
    assert summary.cpu_minutes()["recommended"] == {"train": 9.5, "evaluate": 1.0, "segment": 8.0}
    (row,) = variants_table(summary, {"hit": "hit"}).rows
    assert row[0] == VARIANTS["recommended"].says
    assert row[-1] == "9.5 + 1.0 (+ 8.0)"


def test_findings_stand_beside_chance_with_the_group_and_all_of_them_below(summary):
    table = findings_table(summary, "recommended")
    rows = {row[0]: row for row in table.rows}
    assert table.header[1:] == ("chance", "hit", "swapped", "position", "hit, times chance")
    assert (rows["Lung nodule"][-1], rows["Consolidation"][-1]) == ("5.0", "7.0")
    assert list(rows)[-2:] == ["findings that may lie anywhere in a lung", "all"]
    assert rows["all"][2].startswith("0.733 [")


def test_every_kind_of_map_has_a_column_and_a_row(summary):
    found = tables(summary, 9)
    assert found["Where sentences look, by kind of map: hit, on body patches"].header[2:-1] == (
        "chance",
        *MAPS,
    )
    assert [row[0] for row in maps_table(summary, "recommended").rows] == [*MAPS, "chance"]
