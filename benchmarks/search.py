"""What exact search costs: 50,000 volumes by one vector each, and one volume by its patches.

    python benchmarks/search.py [--volumes 50000] [--shared 768] [--patches 2744] [--rounds 5]

CPU seconds of this process, median over the rounds. Vectors are random; memory-mapped as an index
has them. The patch level is measured on a few volumes and given per volume.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from simcrop.evaluate.zero_shot import pool_top_k


def median_seconds(work: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return float(np.median(times))


def mapped(folder: str, name: str, array: np.ndarray) -> np.ndarray:
    path = Path(folder) / f"{name}.npy"
    np.save(path, array)
    return np.load(path, mmap_mode="r")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in {"volumes": 50_000, "shared": 768, "patches": 2744, "rounds": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    wanted = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        whole = mapped(
            folder, "whole", rng.random((wanted.volumes, wanted.shared), dtype=np.float32)
        )
        query = rng.random((1, wanted.shared), dtype=np.float32)

        def by_global() -> np.ndarray:
            return np.argsort(-(whole @ query.T)[:, 0], kind="stable")[:10]

        few = rng.random((8, wanted.patches, wanted.shared), dtype=np.float32)
        patches = mapped(folder, "patches", few.astype(np.float16))
        is_body = np.ones((1, wanted.patches), dtype=bool)

        def by_patches() -> list[np.ndarray]:
            return [pool_top_k(query @ p.astype(np.float32).T, is_body, 32) for p in patches]

        seconds = median_seconds(by_global, wanted.rounds)
        print(f"global, {wanted.volumes:,} volumes: {1000 * seconds:.0f} CPU ms per query")
        seconds = median_seconds(by_patches, wanted.rounds) / len(patches)
        size = patches[0].nbytes / 2**20
        print(f"top-k: {1000 * seconds:.1f} CPU ms and {size:.1f} MiB read per volume")


if __name__ == "__main__":
    main()
