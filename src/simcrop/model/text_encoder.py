"""The frozen text encoder: any BERT of transformers, always in evaluation mode.

One network serves both text branches: the unmasked findings for the alignment and the masked
report for the masked-word objective. It never trains, never drops out and gives no gradient.
"""

import hashlib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from simcrop.errors import ConfigError, complain
from simcrop.report.tokens import locate_text_encoder
from simcrop.types import WordIds, WordMask


class TextEncoder(nn.Module):
    """A frozen BERT (paper: CXR-BERT) that gives the last hidden state of every word.

    Args:
        encoder: "packaged" for the BERT that comes with the installation, a folder, or the
            name of a model on the hub; only a hub name may reach the network.
        untrained: take random weights of its size, read from this machine alone; a hub name that
            is not on it counts as BERT-base, which CXR-BERT is. For plans and benchmarks.

    Raises:
        ConfigError: if it cannot be loaded.
    """

    def __init__(self, encoder: str, *, untrained: bool = False) -> None:
        super().__init__()
        self.bert = _untrained_bert(encoder) if untrained else _load_bert(encoder)
        self.bert.requires_grad_(False)
        self.bert.eval()

    @property
    def dim(self) -> int:
        """Width of the word states."""
        return self.bert.config.hidden_size

    @property
    def vocabulary_size(self) -> int:
        """Number of word ids."""
        return self.bert.config.vocab_size

    def train(self, mode: bool = True) -> "TextEncoder":
        """Stay in evaluation mode: `mode` is ignored, so that dropout never becomes active."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, ids: WordIds, is_valid: WordMask) -> Float[Tensor, "batch words text_dim"]:
        """Return the last hidden state of every word; padded words are meaningless."""
        return self.bert(input_ids=ids, attention_mask=is_valid.long()).last_hidden_state

    def fingerprint(self) -> str:
        """Return a short hash of all weights, to tell one text encoder from another."""
        return weights_fingerprint(self.bert)


def weights_fingerprint(network: nn.Module) -> str:
    """Return a short hash of all parameters and buffers of a network."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _load_bert(encoder: str) -> Any:  # a PreTrainedModel; transformers is imported late
    from transformers import AutoModel, BertConfig, BertModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    location, is_local = locate_text_encoder(encoder)
    try:
        settings = BertConfig.get_config_dict(location, local_files_only=is_local)[0]
        if settings.get("model_type") in {None, "cxr-bert"}:
            # CXR-BERT is a BERT under a name that transformers knows from remote code only,
            # which we never run.
            config = BertConfig.from_dict({**settings, "model_type": "bert"})
            return BertModel.from_pretrained(location, config=config, local_files_only=is_local)
        return AutoModel.from_pretrained(location, local_files_only=is_local)
    except (OSError, ValueError) as error:
        raise ConfigError(
            complain(
                f"text encoder {encoder!r} could not be loaded ({error})",
                "a folder or hub name with the weights and config.json of a BERT",
                "Check `text.encoder`.",
            )
        ) from error


def _untrained_bert(encoder: str) -> Any:
    from transformers import BertConfig, BertModel

    location, _ = locate_text_encoder(encoder)
    try:
        settings = BertConfig.get_config_dict(location, local_files_only=True)[0]
    except OSError:
        settings = {}
    return BertModel(BertConfig.from_dict({**settings, "model_type": "bert"}))
