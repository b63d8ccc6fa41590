"""Studies that cannot be read while a network trains: passed over, named, and replaced.

A store is checked when it is made, but disks fail and files vanish in the weeks of a run. Another
study takes the place of such a one, so that every batch keeps its shape: the first readable one
in an order that is drawn from (seed, epoch, position), none that the batch has already. Which
one it is thus depends on neither the process that reads nor the moment at which a run resumed.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Generic, Protocol, TypeVar, runtime_checkable

from torch.utils.data import Dataset

from simcrop.data.augmentation import generator_for
from simcrop.data.samples import SkippedStudy, StudySample
from simcrop.data.segmentation_crops import CropBatch
from simcrop.errors import DataError, complain

TRIES = 10  # as many failures in a row are no single bad file: the store is gone


Sample = TypeVar("Sample", StudySample, CropBatch)
_Made_co = TypeVar("_Made_co", covariant=True)


@runtime_checkable
class Studies(Protocol[_Made_co]):
    """A dataset indexed by (epoch, position)."""

    seed: int

    @property
    def studies(self) -> list[str]:
        """Study ids in the order of the positions."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: tuple[int, int], /) -> _Made_co: ...


class ReadableStudies(Dataset[Sample], Generic[Sample]):
    """The studies of a dataset, batch by batch, without those that cannot be read.

    Args:
        studies: the dataset.
        replace: whether another study takes the place of one that cannot be read. Otherwise it is
            left out, as in validation, unless it was the only one of its batch.
    """

    def __init__(self, studies: Studies[Sample], *, replace: bool) -> None:
        self.dataset = studies
        self.replace = replace

    @property
    def studies(self) -> list[str]:
        """Study ids in the order of the positions."""
        return self.dataset.studies

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: tuple[int, int]) -> Sample:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[tuple[int, int]]) -> list[Sample]:
        """Return a batch of samples; the first says which studies were skipped and why.

        Without indices there is no sample.

        Raises:
            DataError: if many studies in a row cannot be read.
        """
        if not indices:
            return []
        taken = {position for _, position in indices}
        samples: list[Sample] = []
        skipped: list[SkippedStudy] = []
        failed: list[tuple[int, int]] = []
        for index in indices:
            sample = self._try(index, skipped)
            if sample is None:
                failed.append(index)
            else:
                samples.append(sample)
        if not self.replace:
            failed = failed[:1] if not samples else []
        for index in failed:
            sample, position = self._instead_of(index, taken, skipped)
            samples.append(sample)
            taken.add(position)
        return [replace(samples[0], skipped=tuple(skipped)), *samples[1:]]

    def _try(self, index: tuple[int, int], skipped: list[SkippedStudy]) -> Sample | None:
        try:
            return self.dataset[index]
        except (DataError, OSError) as error:
            skipped.append(SkippedStudy(self.studies[index[1]], str(error)))
            return None

    def _instead_of(
        self, index: tuple[int, int], taken: set[int], skipped: list[SkippedStudy]
    ) -> tuple[Sample, int]:
        epoch, position = index
        order = generator_for(self.dataset.seed, epoch, position).permutation(len(self.dataset))
        others = [int(other) for other in order if other not in taken] or [int(o) for o in order]
        for other in others[:TRIES]:
            sample = self._try((epoch, other), skipped)
            if sample is not None:
                return sample, other
        raise DataError(
            complain(
                f"{len(skipped)} studies in a row cannot be read, the last one because: "
                f"{skipped[-1].reason}",
                "a store that can be read",
                "See whether its disk is still there, then resume the run.",
            ),
            "unreachable",
        )
