"""A small supervised 3-D CNN: what phantoms show to a network that is told every label.

It is a ceiling, not a competitor: it learns from the labels of all training patients, and no
sentence can be asked of it.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int16, Shaped, UInt8
from torch import Tensor, nn

from simcrop.data.store import Store

Blocks = UInt8[np.ndarray, "volumes node bx by bz"]
Progress = Callable[[int, int, str], None]

# The network sees how much of each block of 2 x 2 x 2 voxels is near each of these intensities:
# air, holes, lung, haze, fat, water, muscle, blood with contrast, bone, calcium.
NODES_HU = np.array([-1000, -900, -800, -650, -450, -200, -80, 10, 60, 150, 300, 700])


def blocks(hu: Int16[np.ndarray, "x y z"]) -> UInt8[np.ndarray, "node bx by bz"]:
    """Return the share of each 2 x 2 x 2 block near each node, as uint8 (node, x, y, z)."""
    position = np.interp(hu, NODES_HU, np.arange(len(NODES_HU)))
    x, y, z = (n // 2 for n in hu.shape)
    shares = [
        np.clip(1 - np.abs(position - node), 0, 1).reshape(x, 2, y, 2, z, 2).mean((1, 3, 5))
        for node in range(len(NODES_HU))
    ]
    return np.rint(255 * np.stack(shares)).astype(np.uint8)


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

    def forward(self, shares: Tensor) -> Tensor:
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


def as_input(chosen: Blocks) -> Tensor:
    """Return shares of 0 to 2 as the convolutions want them in memory."""
    shares = torch.from_numpy(chosen).float() / 128
    return shares.contiguous(memory_format=torch.channels_last_3d)


def train_cnn(
    inputs: Blocks,
    labels: Shaped[np.ndarray, "volumes labels"],
    epochs: int,
    seed: int,
    *,
    batch: int = 8,
    lr: float = 3e-3,
    on_progress: Progress = lambda done, total, what: None,
) -> SmallCNN:
    """Train with binary cross-entropy; random shifts by one block are the augmentation."""
    torch.manual_seed(seed)
    rng, model = np.random.default_rng(seed), SmallCNN(labels.shape[1])
    model(as_input(inputs[:2]))
    nn.utils.convert_conv3d_weight_memory_format(model, torch.channels_last_3d)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, lr, total_steps=epochs * (len(labels) // batch), pct_start=0.15
    )
    targets = torch.from_numpy(labels).float()
    for epoch in range(epochs):
        order = rng.permutation(len(targets))
        for chosen in order[: len(order) // batch * batch].reshape(-1, batch):
            moved = np.roll(inputs[chosen], rng.integers(-1, 2, 3), axis=(2, 3, 4))
            logits = model(as_input(moved))
            loss = nn.functional.binary_cross_entropy_with_logits(logits, targets[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        on_progress(epoch + 1, epochs, "train a 3-D CNN")
    return model.eval()


@torch.no_grad()
def predict(
    model: SmallCNN, inputs: Blocks, batch: int = 32
) -> Float[np.ndarray, "volumes labels"]:
    """Return one logit per label."""
    parts = [model(as_input(inputs[i : i + batch])) for i in range(0, len(inputs), batch)]
    return torch.cat(parts).numpy()


def cnn_scores(
    store: Store, seed: int, num_seen: int, on_progress: Progress
) -> Float[np.ndarray, "test_volumes labels"]:
    """Train on the labels of all training volumes; return one logit per label of the test part.

    Args:
        store: all volumes of one shape.
        seed: of weights, order and shifts.
        num_seen: volumes to show in all, those of other variants' updates.
        on_progress: called with (epochs done, epochs in all, what).
    """
    parts = {
        part: np.stack([blocks(store.read_hu(v)[0]) for v in store.volume_ids(part)])
        for part in ("train", "test")
    }
    studies = [store.study_of(volume) for volume in store.volume_ids("train")]
    labels = store.need_labels().loc[studies].to_numpy(dtype=bool)
    epochs = max(1, round(num_seen / len(labels)))
    batch = min(8, len(labels))
    model = train_cnn(parts["train"], labels, epochs, seed, batch=batch, on_progress=on_progress)
    return predict(model, parts["test"])
