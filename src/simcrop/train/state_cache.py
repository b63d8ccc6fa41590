"""The frozen text encoder's states on disk, keyed by encoder and word ids.

A window of words that several studies share is encoded and stored once: where each sentence is
a window of its own (`text.context=sentence`), the stock sentences of a thousand reports cost no
more than those of one. A process that is killed while it encodes loses at most a thousand windows.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock

from simcrop.data.atomic import atomic_path
from simcrop.model.text_encoder import TextEncoder

_BATCH = 32
_NOTE_EVERY = 32 * _BATCH  # windows, after which the disk has what is encoded
_NUM_DONE = "num_done"
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
        array, done = _begun(unfinished, (int(starts[-1]), self.encoder.dim))
        by_length = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        for first in range(done, len(windows), _BATCH):
            chosen = by_length[first : first + _BATCH]
            for i, states in zip(chosen, self._run([windows[i] for i in chosen]), strict=True):
                array[starts[i] : starts[i] + len(windows[i])] = states
            done = first + len(chosen)
            if done % _NOTE_EVERY == 0:
                array.flush()
                with atomic_path(unfinished / _NUM_DONE) as path:
                    path.write_text(str(done))
            self.on_progress(done, len(windows), f"encode reports ({what})")
        array.flush()
        (unfinished / _NUM_DONE).unlink(missing_ok=True)
        unfinished.rename(folder)

    def _run(self, texts: list[Window]) -> list[np.ndarray]:
        """Encode texts of similar length in one batch."""
        words = [torch.tensor(ids, dtype=torch.int64) for ids in texts]
        ids = torch.nn.utils.rnn.pad_sequence(words, batch_first=True).to(self.device)
        lengths = torch.tensor([*map(len, texts)], device=self.device)
        is_valid = torch.arange(ids.shape[1], device=self.device)[None] < lengths[:, None]
        states = self.encoder(ids, is_valid).half().cpu().numpy()
        return [rows[: len(text)] for rows, text in zip(states, texts, strict=True)]


def _begun(unfinished: Path, shape: tuple[int, int]) -> tuple[np.memmap, int]:
    """Return the array that a killed process left and how many windows it has, or a new one."""
    place = unfinished / "states.npy"
    with suppress(OSError, ValueError):
        array = np.lib.format.open_memmap(place, mode="r+")
        if array.shape == shape and array.dtype == np.float16:
            return array, int((unfinished / _NUM_DONE).read_text())
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    return np.lib.format.open_memmap(place, mode="w+", dtype=np.float16, shape=shape), 0
