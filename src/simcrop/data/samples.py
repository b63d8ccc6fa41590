"""One study as a training sample, and studies as a batch.

A sample is a function of (store, seed, epoch, study): volumes with several reconstructions give
one of them per epoch, crops and shifts are drawn by `augmentation.generator_for`. Text comes
from outside as a `TextSample`, so that this layer needs no network.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int16
from torch import Tensor
from torch.nn.functional import pad
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from simcrop.data.augmentation import draw_place, draw_shift, generator_for
from simcrop.data.contract import Contract
from simcrop.data.preprocessing import center_place
from simcrop.data.store import Store
from simcrop.data.views import View, view_of


@dataclass(frozen=True)
class TextSample:
    """The words of one study; `report_states` is None where the encoder runs in every step."""

    findings_states: Float[Tensor, "findings_words text_dim"]
    sentence_of_word: Int[Tensor, " findings_words"]
    sentence_keys: Int[Tensor, " sentences"]
    sentence_weights: Float[Tensor, " sentences"]
    sentence_is_normal: Bool[Tensor, " sentences"]
    report_ids: Int[Tensor, " report_words"]
    masked_ids: Int[Tensor, " report_words"]
    is_masked: Bool[Tensor, " report_words"]
    report_states: Float[Tensor, "report_words text_dim"] | None


@dataclass(frozen=True)
class SkippedStudy:
    """A study that could not be read, and why."""

    study_id: str
    reason: str


@dataclass(frozen=True)
class StudySample:
    """A crop of one volume of a study, in [-1, 1], and its words.

    `skipped` names studies that could not be read for the batch of which this is the first.
    """

    study_id: str
    voxels: Float[Tensor, "x y z"]
    is_padding: Bool[Tensor, "x y z"]
    is_body: Bool[Tensor, " patches"]
    text: TextSample
    skipped: tuple[SkippedStudy, ...] = ()


@dataclass(frozen=True)
class Batch:
    """Samples side by side; text is padded to the longest of the batch.

    `findings_states` has no words where no sample has any; `report_states` is None where the
    encoder runs in every step.
    """

    study_ids: tuple[str, ...]
    voxels: Float[Tensor, "batch x y z"]
    is_padding: Bool[Tensor, "batch x y z"]
    is_body: Bool[Tensor, "batch patches"]
    findings_states: Float[Tensor, "batch findings_words text_dim"]
    sentence_of_word: Int[Tensor, "batch findings_words"]
    sentence_keys: Int[Tensor, "batch sentences"]
    sentence_weights: Float[Tensor, "batch sentences"]
    sentence_is_normal: Bool[Tensor, "batch sentences"]
    sentence_is_valid: Bool[Tensor, "batch sentences"]
    report_ids: Int[Tensor, "batch report_words"]
    masked_ids: Int[Tensor, "batch report_words"]
    is_masked: Bool[Tensor, "batch report_words"]
    report_is_valid: Bool[Tensor, "batch report_words"]
    report_states: Float[Tensor, "batch report_words report_dim"] | None
    skipped: tuple[SkippedStudy, ...] = ()

    def __len__(self) -> int:
        return len(self.study_ids)

    def rows(self, chosen: slice) -> "Batch":
        """Return some of the studies, padded as they are here."""
        present = {n: v for n, v in vars(self).items() if v is not None and n != "skipped"}
        return replace(self, **{name: value[chosen] for name, value in present.items()})

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on a device."""
        tensors = {n: v for n, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, **{name: tensor.to(device) for name, tensor in tensors.items()})

    def with_sentences(self, number: int) -> "Batch":
        """Return the batch padded to at least this many sentences."""
        missing = number - self.sentence_keys.shape[1]
        if missing <= 0:
            return self
        columns = ("sentence_keys", "sentence_weights", "sentence_is_normal", "sentence_is_valid")
        return replace(self, **{name: pad(getattr(self, name), (0, missing)) for name in columns})


@dataclass(frozen=True)
class Augmentation:
    """Ranges of the random changes; see `simcrop.config.AugmentationConfig`."""

    crop_scale: tuple[float, float]
    flip_probability: tuple[float, float, float]
    shift_probability: float
    shift_range: float


def random_view(
    hu: Int16[np.ndarray, "vx vy vz"],
    contract: Contract,
    settings: Augmentation,
    rng: np.random.Generator,
) -> View:
    """Return a random crop of a volume, normalised and shifted, as training sees it."""
    place = draw_place(
        hu.shape,
        contract,
        crop_scale=settings.crop_scale,
        flip_probabilities=settings.flip_probability,
        rng=rng,
    )
    shift = draw_shift(
        max_shift=settings.shift_range, probability=settings.shift_probability, rng=rng
    )
    return view_of(hu, place, contract, shift)


class StudyDataset(Dataset[StudySample]):
    """The studies of a store, indexed by (epoch, position).

    Args:
        store: where the volumes are.
        studies: study ids, in the order of the positions.
        contract: window, crop and patches.
        text: gives the words of a study in an epoch.
        seed: of the run.
        augmentation: None gives the centre crop and the first volume, with nothing random.
        keep_in_memory: keep int16 volumes after the first read.
        mirrored_text: gives the words of a study whose volume is flipped along x; without it those
            are `text`, whatever they say about sides.
    """

    def __init__(
        self,
        store: Store,
        studies: Sequence[str],
        contract: Contract,
        text: Callable[[str, int], TextSample],
        *,
        seed: int,
        augmentation: Augmentation | None = None,
        keep_in_memory: bool = False,
        mirrored_text: Callable[[str, int], TextSample] | None = None,
    ) -> None:
        self.store = store
        self.studies = list(studies)
        self.contract = contract
        self.text = text
        self.mirrored_text = mirrored_text or text
        self.seed = seed
        self.augmentation = augmentation
        self._kept: dict[str, tuple[np.ndarray, np.ndarray]] | None = {} if keep_in_memory else None
        self._volumes: dict[str, list[str]] = {}
        for volume in store.volume_ids():
            self._volumes.setdefault(store.study_of(volume), []).append(volume)

    def __len__(self) -> int:
        return len(self.studies)

    def __getitem__(self, index: tuple[int, int]) -> StudySample:
        epoch, position = index
        study = self.studies[position]
        rng = generator_for(self.seed, epoch, position)
        seen = self._view(study, rng)
        text = self.mirrored_text if seen.is_mirrored else self.text
        return StudySample(
            study,
            torch.from_numpy(seen.voxels),
            torch.from_numpy(seen.is_padding),
            torch.from_numpy(seen.is_body),
            text(study, epoch),
        )

    def _view(self, study: str, rng: np.random.Generator) -> View:
        volumes, settings = self._volumes[study], self.augmentation
        if settings is None:
            hu, _ = self._read(volumes[0])
            return view_of(hu, center_place(hu.shape, self.contract), self.contract)
        hu, _ = self._read(volumes[int(rng.integers(len(volumes)))])
        return random_view(hu, self.contract, settings, rng)

    def _read(self, volume: str) -> tuple[np.ndarray, np.ndarray]:
        if self._kept is None:
            return self.store.read_hu(volume)
        if volume not in self._kept:
            hu, affine = self.store.read_hu(volume)
            self._kept[volume] = np.array(hu, order="C"), affine  # out of the map, as crops lie
        return self._kept[volume]


def collate(samples: list[StudySample]) -> Batch:
    """Return the samples as one batch, text padded with zeros and marked as not valid."""
    texts = [sample.text for sample in samples]
    states = [text.report_states for text in texts]
    is_cached = all(state is not None for state in states)
    return Batch(
        study_ids=tuple(sample.study_id for sample in samples),
        voxels=torch.stack([sample.voxels for sample in samples]),
        is_padding=torch.stack([sample.is_padding for sample in samples]),
        is_body=torch.stack([sample.is_body for sample in samples]),
        findings_states=_pad([text.findings_states for text in texts]),
        sentence_of_word=_pad([text.sentence_of_word for text in texts]),
        sentence_keys=_pad([text.sentence_keys for text in texts]),
        sentence_weights=_pad([text.sentence_weights for text in texts]),
        sentence_is_normal=_pad([text.sentence_is_normal for text in texts]),
        sentence_is_valid=_pad([torch.ones_like(t.sentence_keys).bool() for t in texts]),
        report_ids=_pad([text.report_ids for text in texts]),
        masked_ids=_pad([text.masked_ids for text in texts]),
        is_masked=_pad([text.is_masked for text in texts]),
        report_is_valid=_pad([torch.ones_like(text.is_masked) for text in texts]),
        report_states=_pad([s for s in states if s is not None]) if is_cached else None,
        skipped=tuple(study for sample in samples for study in sample.skipped),
    )


def _pad(rows: list[Tensor]) -> Tensor:
    return pad_sequence(rows, batch_first=True)
