"""One training on phantoms and its figures on the held-out ones: a point of a curve or a row."""

import json
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simcrop.benchmark.columns import ANYWHERE_IN_A_LUNG
from simcrop.benchmark.measures import measure_grounding
from simcrop.benchmark.ruler import Ruler
from simcrop.benchmark.smaller_store import SmallerStore
from simcrop.benchmark.words import measure_words
from simcrop.config import Config
from simcrop.evaluate.classification import mean_auroc
from simcrop.evaluate.items import Items
from simcrop.evaluate.logistic import fit_logistic
from simcrop.train.checkpoint import load_checkpoint
from simcrop.train.features import Features, embed_store
from simcrop.train.pooling import ALIGNED_MAX
from simcrop.train.pretrained import load
from simcrop.train.probe_parts import divide
from simcrop.train.run import pretrain
from simcrop.train.run_folder import RunFolder
from simcrop.train.zero_shot import zero_shot_scores_of

POINT = "point.json"
LABELLED = 40  # patients of the probes, 1 % of 4,000
GROUNDING = {
    "chance": "chance",
    "hit": "hit",
    "hit_swapped": "hit swapped",
    "hit_position": "hit position",
    "patch_auroc": "patch_auroc",
    "unplaced_auroc": "patch_auroc unplaced",
    "unplaced_auroc_position": "patch_auroc unplaced position",
}


def point_of(config: Config, store: SmallerStore, run: RunFolder, **names: object) -> dict:
    """Return the figures of a run under the names of its point; what is there is not made again."""
    path = run.folder / POINT
    if path.exists():
        return json.loads(path.read_text())
    start = time.process_time()
    pretrain(config, store, run, resume=run.config.exists())
    seconds = time.process_time() - start
    point = {**names, **_figures(store, run), "cpu_seconds": round(seconds, 1)}
    path.write_text(json.dumps(point))
    return point


def _figures(store: SmallerStore, run: RunFolder) -> dict[str, float]:
    """Return every figure on the test patients, and the hits of each finding."""
    encoder = load(run.folder)
    few = SmallerStore(store.location, train=LABELLED)
    features = embed_store(encoder, few, with_patches=True)
    held_out = features.of("test")
    _, scores, labels = zero_shot_scores_of(encoder, few, held_out)
    grounded = {
        one.measure: _of_findings(one)
        for one in measure_grounding(encoder, Ruler(store), held_out, few)
    }
    largest = replace(features, volume_embeddings=features.pooled[ALIGNED_MAX])
    return {
        "zero_shot": mean_auroc(scores, labels).value,
        "probe": _probe(features, few),
        "probe_max": _probe(largest, few),
        **{name: _mean(grounded[measure]) for name, measure in GROUNDING.items()},
        **{
            f"lung {name}": _mean(grounded[measure], ANYWHERE_IN_A_LUNG)
            for name, measure in GROUNDING.items()
        },
        **{f"hit {label}": hit for label, hit in grounded["hit"].items()},
        **_words(store, run, encoder.config),
    }


def _of_findings(items: Items) -> dict[str, float]:
    """Return the mean over sentences of every finding."""
    return dict(zip(items.names, np.nanmean(items.values, axis=0).tolist(), strict=True))


def _mean(values: dict[str, float], findings: Sequence[str] = ()) -> float:
    """Return the mean over findings, of those named alone where any are."""
    return float(np.nanmean([values[one] for one in findings or values if one in values]))


def _words(store: SmallerStore, run: RunFolder, config: Config) -> dict[str, float]:
    """Return the share of hidden finding words named rightly, by the volume that is shown."""
    if not config.terms.masked_report:
        return {}
    measured = measure_words(load_checkpoint(run.folder), store)
    return {one.measure: float(np.nanmean(one.values)) for one in measured}


def _probe(features: Features, store: SmallerStore) -> float:
    """Return the mean AUROC of a linear probe fitted on the few patients with labels."""
    development, held_out = divide(features, store)
    part = held_out.open(fit_logistic(development))
    return mean_auroc(part.scores, part.labels).value
