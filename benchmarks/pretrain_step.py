"""Measure the pre-training step beside its peers, and print tables with the bars and who met them.

    python benchmarks/pretrain_step.py [--small] [--rounds 3] [--threads 1 2] [--only PART ...]

Parts: `peers` (the masked-volume step in four implementations), `step` (shares of the whole SimCroP
step, the sentence gather), `options` (checkpointing, AdamW, torch.compile, bf16). Each is run with
every count of threads that is named, one and two if none is. Every contestant runs in a fresh
process, in turns with the others: one step to warm up, then one that is timed, between two
measurements of the fp32 matmul rate. Times are CPU seconds, memory is the peak above the start of
the process's work (Linux). At full size a contestant takes up to 8 GiB.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pretrain_contestants as contestants
import pretrain_whole_step as whole
import torch
from fresh_process import in_process, peak, reset_peak
from pretrain_contestants import Contestant, Size
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

PEERS = ("ours", "transformers", "plain", "monai")
VIT_B = (768, 12, 12)
SIZES = {
    "4x768": Size((224, 224, 112), (16, 16, 8), VIT_B, (768, 4, 16)),
    "8x512": Size((224, 224, 112), (16, 16, 8), VIT_B, (512, 8, 16)),
}
SMALL = {
    "4x768, 96x96x48": Size((96, 96, 48), (16, 16, 8), VIT_B, (768, 4, 16)),
    "8x512, 96x96x48": Size((96, 96, 48), (16, 16, 8), VIT_B, (512, 8, 16)),
}
SQUARE, REPEATS = 2048, 4  # of the matrix product that serves as unit

Row = tuple[str, str, str, str]
Build = Callable[..., Contestant]


class Result(NamedTuple):
    """One process: the loss before and after an update, and what the second step took."""

    losses: tuple[float, float]
    seconds: float
    matmul_rate: float  # FLOP per CPU second
    mib: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="crops of 96 x 96 x 48 voxels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parts = ("peers", "step", "options")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    sizes = SMALL if options.small else SIZES
    print("| what | figure | bar | met |\n|---|---|---|---|")
    for name, size in sizes.items() if "peers" in options.only else ():
        for threads in options.threads:
            label = f"{name}, {threads} thread(s)"
            show(peer_rows(label, size, threads, options.rounds, has_bars=not options.small))
    setting = "small" if options.small else "paper"
    if "step" in options.only:
        for threads in options.threads:
            show(step_rows(setting, threads, options.rounds))
        show(gather_rows())
    for threads in options.threads if "options" in options.only else ():
        show(option_rows(setting, threads, options.rounds))


def show(rows: Sequence[Row]) -> None:
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def peer_rows(
    name: str, size: Size, threads: int, rounds: int, *, has_bars: bool = True
) -> list[Row]:
    """Time the masked-volume step in all four implementations; bars are for the full size."""
    results = compete({one: (contestants.build, one, size) for one in PEERS}, threads, rounds)
    nominal, executed = flops(size, "plain"), flops(size, "ours")
    ours, plain = results["ours"], results["plain"]
    losses = {one: runs[0].losses for one, runs in results.items()}
    apart = [max(losses[one][i] for one in PEERS) - min(losses[one][i] for one in PEERS)
             for i in (0, 1)]  # fmt: skip
    rate = _shares(results, "ours", executed)
    memory = {one: max(run.mib for run in runs) for one, runs in results.items()}
    rows = [
        ratio_row(name, "CPU time, plain / ours", plain, ours, 2.5, at_least=True),
        ratio_row(name, "CPU time, MONAI / ours", results["monai"], ours, 2.5, at_least=True),
        ratio_row(name, "CPU time, ours / transformers with SDPA", ours, results["transformers"],
                  1.0),
        _row(f"{name}: share of the fp32 matmul rate", rate, 0.65, at_least=True),
        _row(f"{name}: memory, ours / plain", [memory["ours"] / memory["plain"]], 0.4),
        _row(f"{name}: memory, ours / MONAI", [memory["ours"] / memory["monai"]], 0.4),
        _row(f"{name}: largest difference of losses, update 0", [apart[0]], 1e-6),
        _row(f"{name}: largest difference of losses, update 1", [apart[1]]),
    ]  # fmt: skip
    rows = rows if has_bars else [(what, figure, "", "") for what, figure, _, _ in rows]
    for one in PEERS:
        seconds = statistics.median(run.seconds for run in results[one])
        unit = statistics.median(run.matmul_rate for run in results[one])
        mfu = statistics.median(_shares(results, one, nominal))
        rows.append((f"{name}: {one}",
                     f"{seconds:.2f} CPU s, {memory[one]:.0f} MiB, {nominal / 1e9:.0f} GFLOP at "
                     f"{mfu:.2f} of {unit / 1e9:.0f} GFLOP/s", "", ""))  # fmt: skip
    rows.append((f"{name}: GFLOP that ours executes", f"{executed / 1e9:.0f}", "", ""))
    return rows


def step_rows(setting: str, threads: int, rounds: int) -> list[Row]:
    """Time the whole step, term by term."""
    names = ("whole", "no alignment", "masked volume", "findings encoded anew", "reports cached")
    results = compete({one: (whole.build, setting, one) for one in names}, threads, rounds)
    name, base = f"whole step, {threads} thread(s)", results["masked volume"]
    return [
        ratio_row(name, "all terms / masked volume alone", results["whole"], base,
                  1.2 if setting == "paper" else None),
        ratio_row(name, "the same, masked reports cached too", results["reports cached"], base),
        ratio_row(name, "findings encoded in the step / their states cached",
                  results["findings encoded anew"], results["whole"]),
        ratio_row(name, "without alignment / all terms", results["no alignment"],
                  results["whole"]),
        *_absolute(name, results),
    ]  # fmt: skip


def gather_rows() -> list[Row]:
    """Measure the alignment's memory at 79 sentences, beside a gather of K patches for each."""
    values = {how: in_process(whole.alignment_memory, how) for how in ("product", "gather")}
    (ours, loss), (gathered, same) = values["product"], values["gather"]
    name = "alignment, 14 studies x 79 sentences x 32 of 686 patches"
    return [
        _row(f"{name}: MiB above inputs, ours", [ours]),
        _row(f"{name}: MiB above inputs, gathered", [gathered]),
        _row(f"{name}: ours / gathered", [ours / gathered], 1.0),
        _row(f"{name}: difference of losses", [abs(loss - same)], 1e-5),
    ]


def option_rows(setting: str, threads: int, rounds: int) -> list[Row]:
    """Time each option of the step beside the step without it."""
    names = ("whole", "checkpointing", "AdamW not fused", "torch.compile", "bf16")
    results = compete({one: (whole.build, setting, one) for one in names}, threads, rounds)
    name = f"option, {threads} thread(s)"
    rows = [ratio_row(name, f"{one} / default", results[one], results["whole"])
            for one in names[1:]]  # fmt: skip
    return rows + _absolute(name, results)


def compete(entries: dict[str, tuple], threads: int, rounds: int) -> dict[str, list[Result]]:
    """Run every contestant once per round, each in a fresh process, in an order of its own."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    results: dict[str, list[Result]] = {name: [] for name in entries}
    for number in range(rounds):
        draw = torch.Generator().manual_seed(number)
        for i in torch.randperm(len(entries), generator=draw).tolist():
            name = [*entries][i]
            results[name].append(in_process(measure, threads, *entries[name]))
    return results


def measure(threads: int, build: Build, *arguments: object) -> Result:
    """Time the second step of a contestant, between two looks at the matmul rate."""
    torch.set_num_threads(threads)
    before = reset_peak()
    contestant = build(*arguments)
    first = contestant.step()
    rate = matmul_rate()
    start = time.process_time()
    second = contestant.step()
    seconds = time.process_time() - start
    highest = peak() - before
    return Result((first, second), seconds, (rate + matmul_rate()) / 2, highest)


def matmul_rate() -> float:
    """Return what one CPU second of fp32 matrix products is worth, in FLOP."""
    a, b = torch.randn(2, SQUARE, SQUARE).unbind()
    out = torch.mm(a, b)
    start = time.process_time()
    for _ in range(REPEATS):
        torch.mm(a, b, out=out)
    return REPEATS * 2 * SQUARE**3 / (time.process_time() - start)


def flops(size: Size, name: str) -> int:
    """Count the matrix products of a step, attention written out, without running it."""
    with FakeTensorMode(), sdpa_kernel(SDPBackend.MATH):
        contestant = contestants.build(name, size)
        with FlopCounterMode(display=False) as counter:
            contestant.loss().backward()
    return counter.get_total_flops()


def ratio_row(
    name: str,
    what: str,
    above: list[Result],
    below: list[Result],
    bar: float | None = None,
    *,
    at_least: bool = False,
) -> Row:
    ratios = [a.seconds / b.seconds for a, b in zip(above, below, strict=True)]
    return _row(f"{name}: {what}", ratios, bar, at_least=at_least)


def _shares(results: dict[str, list[Result]], name: str, work: int) -> list[float]:
    return [work / run.seconds / run.matmul_rate for run in results[name]]


def _absolute(name: str, results: dict[str, list[Result]]) -> list[Row]:
    return [
        (f"{name}: {one}",
         f"{statistics.median(run.seconds for run in runs):.2f} CPU s, "
         f"{max(run.mib for run in runs):.0f} MiB, losses {runs[0].losses[0]:.6f}, "
         f"{runs[0].losses[1]:.6f}", "", "")
        for one, runs in results.items()
    ]  # fmt: skip


def _row(
    what: str, values: list[float], bar: float | None = None, *, at_least: bool = False
) -> Row:
    """Return a line of the table: the median, the range over rounds, the bar and who met it."""
    middle = statistics.median(values)
    text = f"{middle:.3g}"
    if len(values) > 1:
        text += f" [{min(values):.3g}-{max(values):.3g}]"
    if bar is None:
        return what, text, "", ""
    is_met = middle >= bar if at_least else middle <= bar
    return what, text, f"{'>=' if at_least else '<='} {bar:g}", "yes" if is_met else "**no**"


if __name__ == "__main__":
    main()
