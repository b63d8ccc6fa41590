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
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from simcrop.data.phantom import LABEL_NAMES, make_phantom

# Wide at both ends: anything denser than 1,300 HU is metal.
_EDGES_HU = [np.linspace(-1000, 200, 25), np.linspace(300, 1300, 6)]
HISTOGRAM_EDGES_HU = np.concatenate([[-1100], *_EDGES_HU, [3100]])
# The network sees how much of each block of 2 x 2 x 2 voxels is near each of these intensities:
# air, holes, lung, haze, fat, water, muscle, blood with contrast, bone, calcium.
NODES_HU = np.array([-1000, -900, -800, -650, -450, -200, -80, 10, 60, 150, 300, 700])


@dataclass(frozen=True)
class Sample:
    """Phantoms as the methods see them, one row each."""

    mean_hu: np.ndarray
    histogram: np.ndarray
    blocks: np.ndarray
    labels: np.ndarray


def observe(seed: int, difficulty: float, index: int) -> tuple[np.ndarray, ...]:
    phantom = make_phantom(seed, index, difficulty)
    counts, _ = np.histogram(phantom.hu, HISTOGRAM_EDGES_HU)
    present = {finding.label for finding in phantom.findings}
    labels = np.array([name in present for name in LABEL_NAMES])
    return (
        phantom.hu.mean(keepdims=True).ravel(),
        counts / phantom.hu.size,
        blocks(phantom.hu),
        labels,
    )


def blocks(hu: np.ndarray) -> np.ndarray:
    """Return the share of each 2 x 2 x 2 block near each node, as uint8 (node, x, y, z)."""
    position = np.interp(hu, NODES_HU, np.arange(len(NODES_HU)))
    x, y, z = (n // 2 for n in hu.shape)
    shares = [
        np.clip(1 - np.abs(position - node), 0, 1).reshape(x, 2, y, 2, z, 2).mean((1, 3, 5))
        for node in range(len(NODES_HU))
    ]
    return np.rint(255 * np.stack(shares)).astype(np.uint8)


def generate(seed: int, number: int, difficulty: float, workers: int) -> Sample:
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        rows = pool.map(partial(observe, seed, difficulty), range(number), chunksize=16)
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


class SmallCNN(nn.Module):
    """Four 3-D convolutions and a linear read-out of maxima, means and a coarse map.

    Coordinates enter half-way, and the map keeps places apart, because the same density is
    normal in one place and a finding in another.
    """

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.local = _block(len(NODES_HU), 32, stride=2)
        self.context = nn.Sequential(_block(35, 40, stride=1), _block(40, 64, stride=2))
        self.pooled = nn.Linear(128, num_labels)
        self.mapped = nn.Sequential(
            nn.Conv3d(64, 8, 1), nn.Flatten(), nn.Dropout(0.1), nn.LazyLinear(num_labels)
        )

    def forward(self, shares: torch.Tensor) -> torch.Tensor:
        """Return one logit per label."""
        features = self.local(shares)
        axes = [torch.linspace(-1, 1, n) for n in features.shape[2:]]
        place = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        place = place.expand(len(features), -1, -1, -1, -1)
        features = self.context(torch.cat([features, place], dim=1))
        cells = features.flatten(2)
        pooled = torch.cat([cells.amax(-1), cells.mean(-1)], dim=1)
        return self.pooled(pooled) + self.mapped(features)


def _block(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )


def as_input(chosen: np.ndarray) -> torch.Tensor:
    shares = torch.from_numpy(chosen).float() / 128
    return shares.contiguous(memory_format=torch.channels_last_3d)


def train_cnn(sample: Sample, epochs: int, seed: int, batch: int = 8, lr: float = 3e-3) -> SmallCNN:
    """Train with binary cross-entropy; random shifts by one block are the augmentation."""
    torch.manual_seed(seed)
    rng, model = np.random.default_rng(seed), SmallCNN(sample.labels.shape[1])
    model(as_input(sample.blocks[:2]))
    model.to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * (len(sample.labels) // batch), pct_start=0.15
    )
    targets = torch.from_numpy(sample.labels).float()
    for _ in range(epochs):
        order = rng.permutation(len(targets))
        for chosen in order[: len(order) // batch * batch].reshape(-1, batch):
            moved = np.roll(sample.blocks[chosen], rng.integers(-1, 2, 3), axis=(2, 3, 4))
            logits = model(as_input(moved))
            loss = nn.functional.binary_cross_entropy_with_logits(logits, targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def predict(model: SmallCNN, inputs: np.ndarray, batch: int = 32) -> np.ndarray:
    parts = [model(as_input(inputs[i : i + batch])) for i in range(0, len(inputs), batch)]
    return torch.cat(parts).numpy()


def measure(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    train = generate(args.seed, args.train, args.difficulty, args.workers)
    test = generate(args.seed + 1, args.test, args.difficulty, args.workers)
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
        model = train_cnn(train, args.epochs, args.seed)
        size, seconds = sum(p.numel() for p in model.parameters()), time.process_time() - start
        print(f"CNN: {size:,} weights, {seconds:.0f} CPU-seconds of training")
        table["CNN"] = aurocs(test.labels, predict(model, test.blocks))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--test", type=int, default=400)
    parser.add_argument("--difficulty", type=float, default=0.5)
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
