"""The same encoder trained on labels from scratch: what pre-training is to make unnecessary.

Mean of all patch tokens, one linear layer, binary cross-entropy; same optimiser, schedule, number
of updates and order of the studies as pre-training.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from simcrop.config import Config
from simcrop.data.preprocessing import center_crop, normalise
from simcrop.data.store import Store
from simcrop.train.datamodule import BatchStream
from simcrop.train.networks import build_encoder
from simcrop.train.optimization import build_optimizer, warmup_cosine

Progress = Callable[[int, int, str], None]


class Classifier(nn.Module):
    """A vision encoder and one logit per label from the mean of its patch tokens."""

    def __init__(self, config: Config, num_labels: int) -> None:
        super().__init__()
        self.encoder = build_encoder(config)
        self.head = nn.Linear(self.encoder.dim, num_labels)

    def forward(self, voxels: Float[Tensor, "batch x y z"]) -> Float[Tensor, "batch labels"]:
        """Return one logit per label."""
        tokens = self.encoder(self.encoder.grid.cut(voxels)).patch_tokens
        return self.head(tokens.mean(dim=1))


def supervised_scores(
    config: Config, store: Store, on_progress: Progress
) -> Float[np.ndarray, "test_volumes labels"]:
    """Train on the labels of all training volumes; return the probabilities of the test part."""
    voxels = {part: _voxels(config, store, part) for part in ("train", "test")}
    labels = torch.from_numpy(_labels(store, "train")).float()
    torch.manual_seed(config.seed)
    model = Classifier(config, labels.shape[1])
    settings = config.optimizer
    optimizer = build_optimizer(model, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, warmup_cosine(settings.warmup, settings.length)
    )
    batches = iter(BatchStream(len(labels), settings.batch_size, config.seed))
    for done in range(1, settings.length + 1):
        rows = [position for _, position in next(batches)]
        logits = model(voxels["train"][rows].float())
        loss = nn.functional.binary_cross_entropy_with_logits(logits, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        if settings.clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        optimizer.step()
        schedule.step()
        on_progress(done, settings.length, "train on labels")
    with torch.inference_mode():
        parts = [model(part.float()) for part in voxels["test"].split(settings.batch_size)]
    return torch.cat(parts).sigmoid().numpy()


def _voxels(config: Config, store: Store, part: str) -> Tensor:
    contract = config.contract()
    crops = (center_crop(*store.read_hu(v), contract) for v in store.volume_ids(part))
    return torch.stack([torch.from_numpy(normalise(c.voxels, contract)).half() for c in crops])


def _labels(store: Store, part: str) -> np.ndarray:
    studies = [store.study_of(volume) for volume in store.volume_ids(part)]
    return store.need_labels().loc[studies].to_numpy(dtype=np.int64)
