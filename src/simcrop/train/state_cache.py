"""The frozen text encoder's states on disk, keyed by encoder and word ids.

A window of words that several studies share is encoded and stored once: where each sentence is
a window of its own (`text.context=sentence`), the stock sentences of a thousand reports cost no
more than those of one.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from simcrop.model.text_encoder import TextEncoder

Progress = Callable[[int, int, str], None]
Window = tuple[int, ...]


class StateCache:
    """Text states on disk: other words or another encoder, another file.

    Args:
        folder: where the arrays are kept; made if absent.
        encoder: the frozen text encoder.
        on_progress: called with (done, total, what).
        device: where to encode what is not there yet.
    """

    def __init__(
        self, folder: Path, encoder: TextEncoder, on_progress: Progress, device: str
    ) -> None:
        self.folder = folder
        self.encoder = encoder
        self.device = device
        self.fingerprint = encoder.fingerprint()
        self.on_progress = on_progress

    def states(self, windows: Mapping[str, list[Window]], what: str) -> dict[str, list[np.ndarray]]:
        """Return the states of every study's windows, each of shape (words, text_dim)."""
        unique = list(dict.fromkeys(ids for of_study in windows.values() for ids in of_study))
        key = hashlib.sha256(json.dumps([self.fingerprint, unique]).encode()).hexdigest()[:16]
        folder = self.folder / key
        if not folder.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_suffix(".lock")):  # processes of a run start at once
                if not folder.exists():
                    before = next(self.encoder.parameters()).device
                    self.encoder.to(self.device)
                    self._encode(unique, folder, what)
                    self.encoder.to(before)
        array = np.asarray(np.load(folder / "states.npy", mmap_mode="r"))
        ends = np.cumsum([*map(len, unique)])
        rows = {ids: array[end - len(ids) : end] for ids, end in zip(unique, ends, strict=True)}
        return {study: [rows[ids] for ids in of_study] for study, of_study in windows.items()}

    def _encode(self, windows: list[Window], folder: Path, what: str) -> None:
        starts = np.cumsum([0, *map(len, windows)])
        unfinished = folder.with_name(folder.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        shape = (int(starts[-1]), self.encoder.dim)
        array = np.lib.format.open_memmap(
            unfinished / "states.npy", mode="w+", dtype=np.float16, shape=shape
        )
        by_length = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        for done in range(0, len(windows), 32):
            chosen = by_length[done : done + 32]
            for i, states in zip(chosen, self._run([windows[i] for i in chosen]), strict=True):
                array[starts[i] : starts[i] + len(windows[i])] = states
            self.on_progress(done + len(chosen), len(windows), f"encode reports ({what})")
        array.flush()
        unfinished.rename(folder)

    def _run(self, texts: list[Window]) -> list[np.ndarray]:
        """Encode texts of similar length in one batch."""
        words = [torch.tensor(ids, dtype=torch.int64) for ids in texts]
        ids = torch.nn.utils.rnn.pad_sequence(words, batch_first=True).to(self.device)
        lengths = torch.tensor([*map(len, texts)], device=self.device)
        is_valid = torch.arange(ids.shape[1], device=self.device)[None] < lengths[:, None]
        states = self.encoder(ids, is_valid).half().cpu().numpy()
        return [rows[: len(text)] for rows, text in zip(states, texts, strict=True)]
