"""Measure how hard the phantoms are: what intensity alone tells, and what a 3-D CNN learns.

    python benchmarks/phantom_difficulty.py --train 2000 --test 400

A useful phantom hides its findings from mean and histogram of the intensities and shows them to
a small supervised network. Prints one AUROC per finding and method; nothing is stored.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor
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


def render(seed: int, difficulty: float, index: int) -> tuple[np.ndarray, np.ndarray]:
    phantom = make_phantom(seed, index, difficulty)
    present = {finding.label for finding in phantom.findings}
    return phantom.hu, np.array([name in present for name in LABEL_NAMES])


def generate(seed: int, number: int, difficulty: float, workers: int):
    """Return volumes in HU and labels of phantoms 0..number-1 of a seed."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        pairs = pool.map(partial(render, seed, difficulty), range(number), chunksize=16)
        hu, labels = zip(*pairs, strict=True)
    return np.stack(hu), np.stack(labels)


def aurocs(labels: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    values = {n: roc_auc_score(labels[:, i], scores[:, i]) for i, n in enumerate(LABEL_NAMES)}
    return {**values, "mean": float(np.mean(list(values.values())))}


def histograms(hu: np.ndarray) -> np.ndarray:
    """Return the share of voxels in each of 32 bins, one row per volume."""
    return np.stack([np.histogram(v, HISTOGRAM_EDGES_HU)[0] / v.size for v in hu])


def fit_columns(make_model, train: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    models = [make_model().fit(train, column) for column in labels.T]
    return np.stack([m.predict_proba(test)[:, 1] for m in models], axis=1)


def linear():
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))


def boosted():
    return HistGradientBoostingClassifier(max_iter=120, learning_rate=0.06, max_leaf_nodes=12)


class SmallCNN(nn.Module):
    """Strided 3-D convolutions; coordinates enter half-way, so that place can matter."""

    def __init__(self, num_labels: int) -> None:
        super().__init__()
        self.local = nn.Sequential(
            _block(2, 16, stride=2), _block(16, 32, stride=2), _block(32, 32, stride=1)
        )
        self.context = nn.Sequential(_block(35, 48, stride=1), _block(48, 64, stride=2))
        self.head = nn.Linear(128, num_labels)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Return one logit per label."""
        features = self.local(windows)
        axes = [torch.linspace(-1, 1, n) for n in features.shape[2:]]
        place = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        place = place.expand(len(features), -1, -1, -1, -1)
        features = self.context(torch.cat([features, place], dim=1)).flatten(2)
        return self.head(torch.cat([features.amax(-1), features.mean(-1)], dim=1))


def _block(channels_in: int, channels_out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.BatchNorm3d(channels_out),
        nn.ReLU(inplace=True),
    )


def windows(hu: np.ndarray) -> torch.Tensor:
    """Return a lung and a soft-tissue window as two channels in [-1, 1]."""
    voxels = torch.from_numpy(hu).float()
    lung, soft = (voxels + 500) / 500, (voxels - 150) / 400
    return torch.stack([lung, soft], dim=1).clamp(-1, 1.5)


def shifted(hu: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the volumes moved by up to two voxels, the augmentation."""
    return np.roll(hu, rng.integers(-2, 3, 3), axis=(1, 2, 3))


def train_cnn(
    hu: np.ndarray, labels: np.ndarray, epochs: int, seed: int, batch: int = 16
) -> nn.Module:
    torch.manual_seed(seed)
    rng, model = np.random.default_rng(seed), SmallCNN(labels.shape[1])
    steps = epochs * (len(hu) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 3e-3, total_steps=steps, pct_start=0.2
    )
    targets = torch.from_numpy(labels).float()
    for _ in range(epochs):
        order = rng.permutation(len(hu))[: len(hu) // batch * batch].reshape(-1, batch)
        for chosen in order:
            logits = model(windows(shifted(hu[chosen], rng)))
            loss = nn.functional.binary_cross_entropy_with_logits(logits, targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@torch.no_grad()
def predict(model: nn.Module, hu: np.ndarray, batch: int = 32) -> np.ndarray:
    parts = [model(windows(hu[i : i + batch])) for i in range(0, len(hu), batch)]
    return torch.cat(parts).numpy()


def measure(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    start = time.process_time()
    hu, labels = generate(args.seed, args.train, args.difficulty, args.workers)
    test_hu, test_labels = generate(args.seed + 1, args.test, args.difficulty, args.workers)
    print(f"prevalence {labels.mean(0).round(2).tolist()}, normal {(~labels.any(1)).mean():.2f}")
    table, bins, test_bins = {}, histograms(hu), histograms(test_hu)
    means, test_means = (v.reshape(len(v), -1).mean(1, keepdims=True) for v in (hu, test_hu))
    for name, model, train, test in (
        ("mean HU", linear, means, test_means),
        ("histogram, linear", linear, bins, test_bins),
        ("histogram, boosted", boosted, bins, test_bins),
    ):
        table[name] = aurocs(test_labels, fit_columns(model, train, labels, test))
    if args.epochs:
        start = time.process_time()
        model = train_cnn(hu, labels, args.epochs, args.seed)
        size, seconds = sum(p.numel() for p in model.parameters()), time.process_time() - start
        print(f"CNN: {size} weights, {seconds:.0f} CPU-s of training")
        table["CNN"] = aurocs(test_labels, predict(model, test_hu))
        table["CNN, training"] = aurocs(labels[:400], predict(model, hu[:400]))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=int, default=2000)
    parser.add_argument("--test", type=int, default=400)
    parser.add_argument("--difficulty", type=float, default=0.5)
    parser.add_argument("--epochs", type=int, default=10, help="of the CNN; 0 leaves it out")
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
