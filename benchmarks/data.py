"""Measure the data engine beside its peers, and print a table with the bars and who met them.

    python benchmarks/data.py [--real FOLDER] [--rounds 5] [--skip-growth]

Every contestant runs in processes of its own, one thread, in turns with the others, after a warm-up
on a small volume. Times are CPU seconds, memory is the peak above the start of the work (Linux).
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import data_contestants as contestants
import numpy as np
from fresh_process import in_process, peak, reset_peak

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
            "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")  # fmt: skip
_REPEATS = 24  # of what takes milliseconds

Contestant = Callable[[Path], np.ndarray]
Result = tuple[float, float]  # CPU seconds and MiB
Row = tuple[str, str, str, str, str]
_both_workers: Barrier
_mib_at_start: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", type=Path, help="folder with real CTs, to measure on these too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip-growth", action="store_true")
    options = parser.parse_args()
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    print("| what | beside | figure | bar | met |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        small = _small(folder)
        file, series = contestants.make_ct(folder)
        sources = [("512x512x300 .nii.gz", file, True), ("512x512x300 DICOM", series, True)]
        sources += [(f"real: {path.name}", path, False) for path in _real(options.real)]
        for name, path, has_bars in sources:
            show(prepare_rows(name, path, small, options.rounds, has_bars))
        show(epoch_rows(folder / "epoch", file, options.rounds))
        show(pool_rows(folder / "pool", file, small))
        if not options.skip_growth:
            show(growth_rows(folder / "growth", small))


def show(rows: list[Row]) -> None:
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def prepare_rows(name: str, path: Path, small: Path, rounds: int, has_bars: bool) -> list[Row]:
    """Time `prepare` and its peers on one volume."""
    names = ("prepare", "prepare_antialiased", "prepare_and_write", "simpleitk", "monai")
    results = _compete([getattr(contestants, one) for one in names], path, small, rounds)
    times, memory = _medians(results)
    ours, averaged, whole, simpleitk, monai = (times[one] for one in names)
    error, noise = in_process(_difference, path)
    bar = (lambda limit: limit) if has_bars else (lambda limit: None)
    return [
        _row(name, "MONAI's chain", ours / monai, bar(0.10), results, ("prepare", "monai")),
        _row(name, "SimpleITK, one resampling", ours / simpleitk, bar(1.15), results,
             ("prepare", "simpleitk")),
        _row(name, "MiB above start", memory["prepare"], bar(430)),
        _row(name, "largest HU from exact trilinear", error, bar(1.0)),
        _row(name, "antialiased / SimpleITK", averaged / simpleitk, None, results,
             ("prepare_antialiased", "simpleitk")),
        _row(name, "whole job with writing / SimpleITK", whole / simpleitk, None, results,
             ("prepare_and_write", "simpleitk")),
        (name, "CPU s: prepare, whole job, SimpleITK, MONAI",
         f"{ours:.2f}, {whole:.2f}, {simpleitk:.2f}, {monai:.2f}", "", ""),
        (name, "MiB: antialiased, SimpleITK, MONAI",
         ", ".join(f"{memory[one]:.0f}" for one in names[1:2] + names[3:]), "", ""),
        (name, "noise SD, HU: native, linear, antialiased", noise, "", ""),
    ]  # fmt: skip


def epoch_rows(folder: Path, volume: Path, rounds: int) -> list[Row]:
    """Time what training reads in every epoch."""
    stored = contestants.make_store(folder, volume, copies=1)
    names = ("nibabel_file", "store_file", "store_compressed", "store_cached", "memory_map",
             "store_cached_crop", "memory_map_crop", "store_sample", "store_compressed_sample",
             "store_cached_sample", "monai_sample")  # fmt: skip
    functions = [getattr(contestants, one) for one in names]
    results = _compete(functions, stored, stored, rounds, _REPEATS)
    times, memory = _medians(results)

    def beside(what: str, ours: str, peer: str, bar: float | None) -> Row:
        return _row(what, peer, times[ours] / times[peer], bar, results, (ours, peer))

    milliseconds = ", ".join(f"{one} {1e3 * times[one]:.2f}" for one in names)
    peaks = ", ".join(f"{one} {memory[one]:.0f}" for one in names)
    size, raw = stored.stat().st_size, stored.with_name("v00000.npy").stat().st_size
    name = "stored volume"
    return [
        beside(f"{name}, .nii", "store_file", "nibabel_file", 0.25),
        beside(f"{name}, .nii.gz", "store_compressed", "nibabel_file", 0.25),
        beside(f"{name}, uncompressed copy", "store_cached", "nibabel_file", 0.25),
        beside(f"{name}, uncompressed copy", "store_cached", "memory_map", 1.1),
        beside("96x96x48 of it", "store_cached_crop", "memory_map_crop", 1.1),
        beside("training sample, .nii", "store_sample", "monai_sample", 0.10),
        beside("training sample, .nii.gz", "store_compressed_sample", "monai_sample", 0.10),
        beside("training sample, uncompressed copy", "store_cached_sample", "monai_sample", 0.10),
        (name, "CPU ms", milliseconds, "", ""),
        (name, "MiB above start", peaks, "", ""),
        (name, "MB as .nii.gz, .nii", f"{size / 1e6:.2f}, {raw / 1e6:.2f}", "", ""),
    ]


def growth_rows(folder: Path, volume: Path) -> list[Row]:
    """Prepare 10, 100 and 1,000 small volumes, with one and two workers."""
    rows = []
    for workers in (1, 2):
        figures = {}
        for copies in (10, 100, 1000):
            archive = folder / f"archive_{workers}_{copies}"
            contestants.write_archive(archive, volume, copies)
            figures[copies] = in_process(_prepare_many, archive, archive / "store", workers, copies)
        wall = ", ".join(f"{seconds * 1e3:.1f}" for _, seconds, _ in figures.values())
        cpu = ", ".join(f"{seconds * 1e3:.1f}" for seconds, _, _ in figures.values())
        peak = ", ".join(f"{mib:.0f}" for _, _, mib in figures.values())
        name = f"10, 100, 1,000 small volumes, workers {workers}"
        growth = figures[1000][0] / figures[100][0]
        rows += [
            (name, "CPU ms of the main process and its children per volume", cpu, "", ""),
            (name, "wall ms per volume", wall, "", ""),
            (name, "MiB above start, main process", peak, "", ""),
            _row(name, "per volume, 1,000 / 100", growth, 1.1),
        ]
    return rows


def pool_rows(folder: Path, volume: Path, small: Path) -> list[Row]:
    """Prepare full-size volumes with a pool of two workers; how much memory does each take?"""
    from simcrop.data.contract import Contract
    from simcrop.data.prepare import prepare

    contestants.write_archive(folder / "archive", volume, copies := 6)
    start, context = time.perf_counter(), get_context("spawn")
    with ProcessPoolExecutor(2, context, _start_worker, (small, context.Barrier(2))) as pool:
        prepare(folder / "archive", folder / "store", Contract(), executor=pool)
        peaks = list(pool.map(_above_start, range(2)))
    seconds = (time.perf_counter() - start) / copies
    name = f"{copies} full-size .nii.gz, a pool of 2 workers"
    return [
        _row(name, "MiB above start, the larger worker", max(peaks), 430),
        (name, "MiB above start, both workers", ", ".join(f"{mib:.0f}" for mib in peaks), "", ""),
        (name, "wall s per volume, start of the pool included", f"{seconds:.2f}", "", ""),
    ]


def _start_worker(small: Path, both: Barrier) -> None:
    """Load what a worker needs and warm it up, before its memory counts."""
    global _both_workers, _mib_at_start
    contestants.prepare_and_write(small)
    _both_workers, _mib_at_start = both, reset_peak()


def _above_start(number: int) -> float:
    """Return the peak of one worker; the barrier sees to it that each answers once."""
    _both_workers.wait()
    return peak() - _mib_at_start


def _prepare_many(archive: Path, store: Path, workers: int, copies: int) -> tuple[float, ...]:
    from simcrop.data.contract import Contract
    from simcrop.data.prepare import prepare

    contract = Contract(spacing_mm=(4.0, 4.0, 4.0), crop_shape=(64, 64, 64))
    before, start = reset_peak(), time.perf_counter()
    cpu = sum(os.times()[:4])
    prepare(archive, store, contract, workers=workers)
    cpu = sum(os.times()[:4]) - cpu
    return cpu / copies, (time.perf_counter() - start) / copies, peak() - before


def _difference(path: Path) -> tuple[float, str]:
    """Return the error of `prepare` and the noise, as SD within small blocks, of three forms."""
    from simcrop.data.volume import read_volume

    linear = contestants.prepare(path)
    error = float(np.abs(linear - contestants.exact(path)).max())
    forms = (read_volume(path).hu, linear, contestants.prepare_antialiased(path))
    return error, ", ".join(f"{_noise(hu):.1f}" for hu in forms)


def _noise(hu: np.ndarray) -> float:
    """Return the SD within blocks of 6 x 6 voxels, at the quietest quarter of soft tissue."""
    nx, ny = (n // 6 for n in hu.shape[:2])
    cut = hu[: nx * 6, : ny * 6].reshape(nx, 6, ny, 6, -1).astype(np.float32)
    mean, spread = cut.mean(axis=(1, 3)), cut.std(axis=(1, 3))
    return float(np.quantile(spread[(mean > -20) & (mean < 90)], 0.25))


def _compete(
    functions: list[Contestant], path: Path, small: Path, rounds: int, repeats: int = 1
) -> dict[str, list[Result]]:
    results: dict[str, list[Result]] = {one.__name__: [] for one in functions}
    for number in range(rounds):
        order = np.random.default_rng(number).permutation(len(functions))
        for one in (functions[i] for i in order):
            results[one.__name__].append(in_process(_time, one, path, small, repeats))
    return results


def _time(contestant: Contestant, path: Path, small: Path, repeats: int) -> Result:
    """Return the CPU seconds per call and the MiB above start of one contestant."""
    import SimpleITK as sitk  # noqa: N813
    import torch

    torch.set_num_threads(1)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    if not (path.is_dir() and contestant is contestants.monai):
        contestant(small)
    before = reset_peak()
    start = time.process_time()
    for _ in range(repeats):
        contestant(path)
    return (time.process_time() - start) / repeats, peak() - before


def _medians(results: dict[str, list[Result]]) -> tuple[dict[str, float], dict[str, float]]:
    times = {name: statistics.median(r[0] for r in rows) for name, rows in results.items()}
    return times, {name: max(r[1] for r in rows) for name, rows in results.items()}


def _row(
    what: str,
    beside: str,
    figure: float,
    bar: float | None,
    results: dict[str, list[Result]] | None = None,
    pair: tuple[str, str] | None = None,
) -> Row:
    """Return a line of the table; with the results of a pair, also the range over rounds."""
    text = f"{figure:.3g}"
    if results and pair:
        ratios = [a[0] / b[0] for a, b in zip(*(results[one] for one in pair), strict=True)]
        text += f" [{min(ratios):.3g}-{max(ratios):.3g}]"
    if bar is None:
        return what, beside, text, "", ""
    return what, beside, text, f"<= {bar:g}", "yes" if figure <= bar else "**no**"


def _small(folder: Path) -> Path:
    """Write a small volume with a body and lungs, for warm-ups and for growth."""
    import SimpleITK as sitk  # noqa: N813

    voxels = np.full((64, 64, 64), -1000, dtype=np.int16)
    voxels[:, 8:56, 8:56] = 40
    voxels[8:56, 16:48, 14:28] = voxels[8:56, 16:48, 36:50] = -800
    voxels += np.random.default_rng(0).integers(-20, 20, voxels.shape, dtype=np.int16)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((4.2, 4.2, 4.2))
    path = folder / "small.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


def _real(folder: Path | None) -> list[Path]:
    """Return the whole chests among the real data that MONAI reads without further packages."""
    if folder is None:
        return []
    names = ("chest_nodule_lidc0001/ct.nii.gz", "chest_dicom_cptac_pda/dicom")
    return [folder / name for name in names]


if __name__ == "__main__":
    main()
