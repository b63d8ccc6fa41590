"""A checkpoint in use: embed volumes and sentences, and see where a sentence looks.

The checkpoint brings its own preprocessing contract, so a volume of any format, orientation and
spacing is treated exactly as the training volumes were.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from simcrop.config import Config
from simcrop.data.body import body_patches
from simcrop.data.contract import Contract
from simcrop.data.preprocessing import Crop, center_crop, normalise, prepare_volume, resample
from simcrop.data.volume import Volume, from_image, to_image
from simcrop.errors import CheckpointError, ConfigError, complain
from simcrop.geometry import PatchGrid
from simcrop.model.simcrop import SimCroP
from simcrop.model.text_encoder import TextEncoder
from simcrop.model.vision_encoder import EncodedVolume
from simcrop.objectives.alignment import select_top_k, similarity_map
from simcrop.report.sections import Report
from simcrop.report.tokens import Tokenizer, load_tokenizer, tokenize_findings
from simcrop.train.checkpoint import load_checkpoint
from simcrop.train.networks import (
    ENCODER_ONLY,
    build_encoder,
    build_simcrop,
    encoder_only,
)
from simcrop.train.pooling import ALIGNED_MAX, FEATURES, largest_in_body, pool


@dataclass(frozen=True, eq=False)
class SimilarityMap:
    """Where sentences look in one volume.

    Attributes:
        values: cosine of each sentence with each patch, in [-1, 1].
        affine: grid cell to RAS+ mm; saved with it, the map sits on the CT in any viewer.
        is_body: which patches hold enough of the patient to be selected.
        selected: the Top-K patches of each sentence.
        crop: the voxels that the network saw.
    """

    values: Float[np.ndarray, "sentences gx gy gz"]
    affine: Float[np.ndarray, "4 4"]
    is_body: Bool[np.ndarray, "gx gy gz"]
    selected: Bool[np.ndarray, "sentences gx gy gz"]
    crop: Crop


class Pretrained:
    """A pre-trained SimCroP with its preprocessing contract; made by `simcrop.load`.

    Attributes:
        config: the configuration it was trained with.
        contract: how it wants its volumes.
        feature: the feature that stands for a volume unless another is asked for.
        text_fingerprint: hash of the weights of the text encoder it was trained with.
    """

    def __init__(
        self,
        simcrop: SimCroP,
        config: Config,
        text_fingerprint: str,
        feature: str = "post_norm_gap",
        text_encoder: str | None = None,
    ) -> None:
        self.simcrop = simcrop.eval()
        self.config = config
        self.feature = feature
        self.contract: Contract = config.contract()
        self.text_fingerprint = text_fingerprint
        self._text_source = text_encoder or config.text.encoder

    @property
    def grid(self) -> PatchGrid:
        """Geometry of crop and patches."""
        return self.simcrop.grid

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features it can give of a volume."""
        return tuple(f for f in FEATURES if f != ALIGNED_MAX or self.simcrop.terms.alignment)

    @cached_property
    def text_encoder(self) -> TextEncoder:
        """The frozen text encoder, loaded when first needed.

        Raises:
            CheckpointError: if it is not the one that the checkpoint was trained with.
        """
        encoder = TextEncoder(self._text_source).to(self.device)
        if encoder.fingerprint() != self.text_fingerprint:
            raise CheckpointError(
                complain(
                    f"text encoder {self._text_source!r} has other weights "
                    f"({encoder.fingerprint()})",
                    f"those of the pre-training ({self.text_fingerprint})",
                    "Name the right one by `load(..., text_encoder=...)`.",
                )
            )
        return encoder

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the text encoder."""
        return load_tokenizer(self._text_source)

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.simcrop.parameters()).device

    def untrained(self, seed: int = 0) -> "Pretrained":
        """Return the same networks with fresh weights: the control for every comparison."""
        torch.manual_seed(seed)
        if self.simcrop.terms == ENCODER_ONLY:
            alone = encoder_only(build_encoder(self.config)).to(self.device)
            return Pretrained(
                alone, self.config, self.text_fingerprint, self.feature, self._text_source
            )
        shape = self.simcrop.state_dict()
        vocabulary = shape.get("text_decoder.vocabulary.bias", torch.zeros(0))
        first_linear = r"(sentence|report|findings)_projection\.[01]\.weight"
        text_dims = [t.shape[1] for name, t in shape.items() if re.fullmatch(first_linear, name)]
        fresh = build_simcrop(
            self.config, text_dim=max(text_dims, default=1), vocabulary_size=len(vocabulary)
        )
        return Pretrained(
            fresh.to(self.device), self.config, self.text_fingerprint, self.feature,
            self._text_source,
        )  # fmt: skip

    def crop(self, volume: Path | str | Volume) -> Crop:
        """Return the voxels that the network sees of a volume: prepared, centred, cropped.

        Args:
            volume: a file or DICOM folder in any orientation and spacing, or a `Volume`.

        Raises:
            DataError: if the volume cannot be used.
        """
        if isinstance(volume, Volume):
            image = resample(to_image(volume.hu, volume.affine), self.contract)
            prepared = from_image(image, volume.source)
        else:
            prepared = prepare_volume(volume, self.contract)
        return center_crop(prepared.hu, prepared.affine, self.contract)

    @torch.inference_mode()
    def encode(self, crops: list[Crop]) -> EncodedVolume:
        """Return the encoder's tokens of crops, every patch being seen."""
        voxels = np.stack([normalise(crop.voxels, self.contract) for crop in crops])
        patches = self.grid.cut(torch.from_numpy(voxels).to(self.device))
        return self.simcrop.vision_encoder(patches, reach=self.simcrop.reach)

    def embed_volume(
        self, volume: Path | str | Volume | Crop, feature: str | None = None
    ) -> Float[np.ndarray, " dim"]:
        """Return one vector per volume.

        Args:
            volume: a file, DICOM folder, `Volume`, or a crop.
            feature: a name from `simcrop.train.pooling`; None takes the checkpoint's own.

        Raises:
            CheckpointError: if "aligned_max" is asked of a checkpoint without the alignment.
            ValueError: if the feature is unknown.
        """
        crop = volume if isinstance(volume, Crop) else self.crop(volume)
        return self.pool(self.encode([crop]), [crop], feature or self.feature)[0].cpu().numpy()

    @torch.inference_mode()
    def pool(
        self, encoded: EncodedVolume, crops: list[Crop], feature: str
    ) -> Float[Tensor, "batch features"]:
        """Return one vector for each crop from its tokens; see `embed_volume`."""
        if feature != ALIGNED_MAX:
            return pool(encoded, feature)
        is_body = np.stack([body_patches(crop, self.grid) for crop in crops])
        return largest_in_body(self.embed_encoded(encoded), torch.from_numpy(is_body))

    @torch.inference_mode()
    def embed_patches(
        self, volume: Path | str | Volume | Crop
    ) -> Float[np.ndarray, "patches shared"]:
        """Return every patch in the space shared with sentences, unit length."""
        crop = volume if isinstance(volume, Crop) else self.crop(volume)
        return self.embed_encoded(self.encode([crop]))[0].cpu().numpy()

    @torch.inference_mode()
    def embed_encoded(self, encoded: EncodedVolume) -> Float[Tensor, "batch patches shared"]:
        """Return the patches of encoded volumes in the shared space, unit length."""
        self.need_alignment(or_wholes=True)
        simcrop = self.simcrop
        head = simcrop.image_projection if simcrop.terms.alignment else simcrop.volume_projection
        return torch.nn.functional.normalize(head(encoded.patch_tokens), dim=-1)

    @torch.inference_mode()
    def embed_sentences(self, sentences: list[str]) -> Float[np.ndarray, "sentences shared"]:
        """Return every sentence in the space shared with patches, unit length.

        Each is encoded by itself; in pre-training it stood among the other findings.

        Raises:
            ValueError: if a sentence has no words.
        """
        self.need_alignment(or_wholes=True)
        rows = [self._embed_sentence(sentence) for sentence in sentences]
        return torch.nn.functional.normalize(torch.cat(rows), dim=-1).cpu().numpy()

    def _embed_sentence(self, sentence: str) -> Float[Tensor, "1 shared"]:
        windows, _ = tokenize_findings(
            Report(sentences=(sentence,)),
            self.tokenizer,
            max_words=self.config.text.max_words,
            min_pieces=1,
        )
        if not windows:
            raise ValueError(f"sentence {sentence!r} has no words")
        ids = torch.tensor([windows[0].ids], device=self.device)
        owners = torch.tensor([windows[0].sentence_of_word], device=self.device)
        states = self.text_encoder(ids, torch.ones_like(ids, dtype=torch.bool))
        if self.simcrop.terms.alignment:
            return self.simcrop.embed_sentences(states, owners, 1)[0]
        as_report = self.simcrop.embed_findings(states, owners, 1).report
        assert as_report is not None
        return as_report

    def similarity_map(
        self, volume: Path | str | Volume | Crop, sentences: list[str]
    ) -> SimilarityMap:
        """Return the cosine of every sentence with every patch of a volume."""
        crop = volume if isinstance(volume, Crop) else self.crop(volume)
        patches = torch.from_numpy(self.embed_patches(crop))
        values = similarity_map(patches, torch.from_numpy(self.embed_sentences(sentences)))
        is_body = torch.from_numpy(body_patches(crop, self.grid))
        is_candidate = is_body if self.config.alignment.candidates == "body" else None
        selected = select_top_k(values, self.config.alignment.top_k, is_candidate)
        shape = (-1, *self.grid.shape)
        return SimilarityMap(
            values=values.reshape(shape).numpy(),
            affine=self.grid.affine(crop.affine),
            is_body=is_body.reshape(self.grid.shape).numpy(),
            selected=selected.reshape(shape).numpy(),
            crop=crop,
        )

    def need_alignment(self, *, or_wholes: bool = False) -> None:
        """Check that sentences and patches share a space.

        With `or_wholes` the contrast of wholes will do: a patch is projected as a volume is, a
        sentence as a report, though nothing trained these two to meet.

        Raises:
            CheckpointError: if it was trained without what is needed.
        """
        terms = self.simcrop.terms
        if not (terms.shared_space if or_wholes else terms.alignment):
            raise CheckpointError(
                complain(
                    f"recipe {self.config.name!r} was trained without the alignment",
                    "a checkpoint whose terms.alignment"
                    f"{' or terms.instance_contrast' if or_wholes else ''} is on",
                    "Sentences and patches share no space in this one.",
                )
            )


def load(
    checkpoint: Path | str, *, text_encoder: str | None = None, device: str = "cpu"
) -> Pretrained:
    """Load a checkpoint, or the run folder that holds one, ready to use.

    Args:
        checkpoint: the folder.
        text_encoder: where the text encoder of the pre-training is now, if it has moved.
        device: "cpu", "cuda", ...

    Raises:
        CheckpointError: if the folder is no checkpoint or is damaged.
        ConfigError: if there is no such device.
    """
    loaded = load_checkpoint(Path(checkpoint))
    try:
        simcrop = loaded.simcrop.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            complain(f"device {device!r} ({error})", "cpu, or cuda where there is one", "Choose.")
        ) from error
    return Pretrained(simcrop, loaded.config, loaded.text_fingerprint, loaded.feature, text_encoder)
