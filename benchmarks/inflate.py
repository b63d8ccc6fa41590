"""How fast can a .nii.gz be inflated? Every library at hand, beside whole chains, in turns.

    pip install isal deflate zlib-ng rapidgzip
    python benchmarks/inflate.py [FILE.nii.gz] [--rounds 5]

Without a file the CT of `benchmarks/data.py` is made. CPU seconds of one thread, medians; what is
not installed is left out. The last lines are SimpleITK's reading, our `prepare` and MONAI's chain.
"""

import argparse
import importlib
import os
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1"))

import data_contestants as contestants
import numpy as np
import SimpleITK as sitk  # noqa: N813

from simcrop.data.inflate import inflate

Way = Callable[[Path], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        file = options.file or contestants.make_ct(Path(folder))[0]
        measure(file, options.rounds)


def measure(file: Path, rounds: int) -> None:
    """Print a table of every way to read one file."""
    size, packed = size_of(file), file.stat().st_size
    ways = {name: way for name, way in all_ways(size).items() if way is not None}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way(file)
            times[name].append(time.process_time() - start)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    print(f"{size / 1e6:.1f} MB, {packed / 1e6:.1f} MB compressed, ratio {size / packed:.2f}\n")
    print("| way | CPU s [range] | MB/s | / MONAI's chain |\n|---|---|---|---|")
    for name, seconds in medians.items():
        low, high, share = min(times[name]), max(times[name]), seconds / medians["MONAI's chain"]
        print(f"| {name} | {seconds:.3f} [{low:.3f}, {high:.3f}] | {size / 1e6 / seconds:.0f} | "
              f"{share:.3f} |")  # fmt: skip


def all_ways(size: int) -> dict[str, Way | None]:
    """Return each way by its name; None where its package is not installed."""
    isal, libdeflate, zlib_ng, rapidgzip = map(
        _package, ("isal.isal_zlib", "deflate", "zlib_ng.zlib_ng", "rapidgzip")
    )
    return {
        "zlib": lambda file: zlib.decompress(file.read_bytes(), 31, size),
        "zlib-ng": zlib_ng and (lambda file: zlib_ng.decompress(file.read_bytes(), 31, size)),
        "ISA-L": isal and (lambda file: isal.decompress(file.read_bytes(), 31, size)),
        "rapidgzip": rapidgzip and (lambda file: _read_all(rapidgzip, file)),
        "libdeflate, into new bytes": libdeflate
        and (lambda file: libdeflate.gzip_decompress(file.read_bytes(), size)),
        "libdeflate, into an array (ours)": lambda file: inflate(file, size),
        "nibabel, integers": contestants.nibabel_integers,
        "SimpleITK, read alone": lambda file: sitk.ReadImage(str(file)),
        "SimpleITK, read and one resampling": contestants.simpleitk,
        "prepare": contestants.prepare,
        "MONAI's chain": contestants.monai,
    }


def _package(name: str):
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _read_all(rapidgzip, file: Path) -> bytes:
    with rapidgzip.open(str(file), parallelization=1) as opened:
        return opened.read()


def size_of(file: Path) -> int:
    """Return the inflated size that a gzip file states."""
    return int(np.fromfile(file, np.uint8)[-4:].view("<u4")[0])


if __name__ == "__main__":
    main()
