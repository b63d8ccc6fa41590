"""Measure how hard the phantoms are: what intensity alone tells, and what a 3-D CNN learns.

    python benchmarks/phantom_difficulty.py --train 2000 --test 400

A useful phantom hides its findings from mean and histogram of the intensities and shows them to
a small supervised network. Prints one AUROC per finding and method; nothing is stored.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from simcrop.benchmark.cnn import blocks, predict, train_cnn
from simcrop.data.phantom import LABEL_NAMES, make_phantom

# Wide at both ends: anything denser than 1,300 HU is metal.
_EDGES_HU = [np.linspace(-1000, 200, 25), np.linspace(300, 1300, 6)]
HISTOGRAM_EDGES_HU = np.concatenate([[-1100], *_EDGES_HU, [3100]])


@dataclass(frozen=True)
class Sample:
    """Phantoms as the methods see them, one row each."""

    mean_hu: np.ndarray
    histogram: np.ndarray
    blocks: np.ndarray
    labels: np.ndarray


def observe(seed: int, difficulty: float, spread: float, index: int) -> tuple[np.ndarray, ...]:
    phantom = make_phantom(seed, index, difficulty, spread=spread)
    counts, _ = np.histogram(phantom.hu, HISTOGRAM_EDGES_HU)
    present = {finding.label for finding in phantom.findings}
    labels = np.array([name in present for name in LABEL_NAMES])
    return (
        phantom.hu.mean(keepdims=True).ravel(),
        counts / phantom.hu.size,
        blocks(phantom.hu),
        labels,
    )


def generate(seed: int, number: int, args: argparse.Namespace) -> Sample:
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        one = partial(observe, seed, args.difficulty, args.spread)
        rows = pool.map(one, range(number), chunksize=16)
        return Sample(*(np.stack(column) for column in zip(*rows, strict=True)))


def aurocs(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    values = {n: roc_auc_score(labels[:, i], scores[:, i]) for i, n in enumerate(LABEL_NAMES)}
    return {**values, "mean": float(np.mean(list(values.values())))}


def fit_columns(make_model, train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    models = [make_model().fit(train, column) for column in labels.T]
    return np.stack([m.predict_proba(test)[:, 1] for m in models], axis=1)


def linear():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


def boosted():
    return HistGradientBoostingClassifier(max_iter=120, learning_rate=0.06, max_leaf_nodes=12)


def measure(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    train = generate(args.seed, args.train, args)
    test = generate(args.seed + 1, args.test, args)
    is_normal = ~np.concatenate([train.labels, test.labels]).any(axis=1)
    print(f"{is_normal.mean():.1%} of patients have no finding")
    table = {}
    for name, model, feature in (
        ("mean HU", linear, "mean_hu"),
        ("histogram, linear", linear, "histogram"),
        ("histogram, boosted", boosted, "histogram"),
    ):
        x, test_x = getattr(train, feature), getattr(test, feature)
        table[name] = aurocs(test.labels, fit_columns(model, x, train.labels, test_x))
    if args.epochs:
        start = time.process_time()
        model = train_cnn(train.blocks, train.labels, args.epochs, args.seed)
        size, seconds = sum(p.numel() for p in model.parameters()), time.process_time() - start
        print(f"CNN: {size:,} weights, {seconds:.0f} CPU-seconds of training")
        table["CNN"] = aurocs(test.labels, predict(model, test.blocks))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--test", type=int, default=400)
    parser.add_argument("--difficulty", type=float, default=0.5)
    parser.add_argument("--spread", type=float, default=0.0)
    parser.add_argument("--epochs", type=int, default=18, help="of the CNN; 0 leaves it out")
    parser.add_argument("--seed", type=int, default=0, help="the test phantoms take the next one")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    table = measure(args := parser.parse_args())
    if args.json:
        print(json.dumps(table))
        return
    print(f"{'AUROC':36s}" + "".join(f"{name:>20s}" for name in table))
    for label in (*LABEL_NAMES, "mean"):
        print(f"{label:36s}" + "".join(f"{row[label]:20.3f}" for row in table.values()))


if __name__ == "__main__":
    main()
