"""Which studies in which order: batches as a function of (seed, epoch), resumable anywhere.

The stream of batches has no end and no memory: batch number b of a run is the same whenever it
is asked for, so a run resumes at any step by asking for the next number. Several processes split
one stream: together they see the batches that one process with as many studies would.
"""

from collections.abc import Iterator

import numpy as np
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Sampler

from simcrop.config import Config
from simcrop.data.replacement import ReadableStudies
from simcrop.data.samples import Batch, StudyDataset, StudySample, collate
from simcrop.train.loader import Loader


class BatchStream(Sampler[list[tuple[int, int]]]):
    """Endless batches of (epoch, position); every epoch is a new order of all studies.

    The last batch of an epoch is dropped if it is not full, unless it is the only one.

    Args:
        num_studies: length of the dataset.
        batch_size: studies per batch on this device.
        seed: of the run.
        start: number of the first batch.
        rank, num_ranks: this process and the number of processes, which share each epoch.
    """

    def __init__(
        self,
        num_studies: int,
        batch_size: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        num_ranks: int = 1,
    ) -> None:
        self.num_studies = num_studies
        self.seed = seed
        self.start = start
        self.rank, self.num_ranks = rank, num_ranks
        self.batch_size = min(batch_size, max(1, num_studies // num_ranks))
        self.batches_per_epoch = max(1, num_studies // (self.batch_size * num_ranks))

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        number = self.start
        while True:
            epoch, first = divmod(number, self.batches_per_epoch)
            order = np.random.default_rng((self.seed, epoch)).permutation(self.num_studies)
            for i in range(first, self.batches_per_epoch):
                begin = (i * self.num_ranks + self.rank) * self.batch_size
                chosen = order[begin : begin + self.batch_size]
                yield [(epoch, int(position)) for position in chosen]
                number += 1


class PretrainingData(LightningDataModule):
    """The training and validation batches of a run.

    Args:
        train, val: the studies; `val` may be empty.
        config: batch size, devices, workers and seed are read.
        start: number of the first training batch, above 0 in a resumed run.
    """

    def __init__(
        self, train: StudyDataset, val: StudyDataset, config: Config, start: int = 0
    ) -> None:
        super().__init__()
        self.train = ReadableStudies(train, replace=True)
        self.val = ReadableStudies(val, replace=False)
        self.config = config
        self.start = start

    def _stream(self, rank: int = 0) -> BatchStream:
        return BatchStream(
            len(self.train),
            self.config.optimizer.batch_size,
            self.config.seed,
            self.start,
            rank,
            self.config.trainer.num_processes,
        )

    @property
    def batches_per_epoch(self) -> int:
        """Batches of each process in an epoch."""
        return self._stream().batches_per_epoch

    @property
    def updates_per_epoch(self) -> int:
        """Updates in an epoch; at least one."""
        return max(1, self.batches_per_epoch // self.config.optimizer.accumulate)

    def train_dataloader(self) -> DataLoader:
        """Return the endless loader of this process."""
        return Loader(
            self.train,
            batch_sampler=self._stream(self._rank),
            num_workers=self.config.trainer.workers,
            collate_fn=collate,
        )

    def val_dataloader(self) -> DataLoader | list:
        """Return every validation study once, in order, at epoch 0.

        A global batch is as large as in training; each process has its stretch of it, which may
        be empty in the last one.
        """
        ranks, rank = self.config.trainer.num_processes, self._rank
        size = self.config.optimizer.batch_size * ranks
        items = [(0, position) for position in range(len(self.val))]
        batches = [items[i : i + size] for i in range(0, len(items), size)]
        own = [b[len(b) * rank // ranks : len(b) * (rank + 1) // ranks] for b in batches]
        return DataLoader(self.val, batch_sampler=own, collate_fn=self._collate_val) if own else []

    def _collate_val(self, samples: list[StudySample]) -> Batch:
        return collate(samples) if samples else collate([self.val[0, 0]]).rows(slice(0))

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0
