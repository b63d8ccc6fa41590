"""`simcrop plan`: what a run will take."""

import re
from typing import TYPE_CHECKING, Annotated

import typer

from simcrop.cli.options import Settings

if TYPE_CHECKING:
    from simcrop.train.plan import Plan


def plan(
    recipe: Annotated[
        str,
        typer.Argument(
            help="A recipe (paper, base, base_recommended, tiny, tiny_recommended) or YAML file."
        ),
    ] = "paper",
    memory: Annotated[
        str | None, typer.Option(help="Of one GPU, e.g. 80GB; finds the largest batch that fits.")
    ] = None,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs that train together.")] = 1,
    gpu: Annotated[
        list[str] | None,
        typer.Option(help="Kind of GPU, as A100 or H100; repeatable. Without it all known ones."),
    ] = None,
    mfu: Annotated[
        float,
        typer.Option(min=0.01, max=1.0, help="Share of the peak that is reached."),
    ] = 0.4,
    studies: Annotated[
        int, typer.Option(min=1, help="Training studies; CT-RATE has 24,128.")
    ] = 24_128,
    precision: Annotated[str, typer.Option(help="bf16 or 32.")] = "bf16",
    settings: Settings = None,
) -> None:
    """Predict memory, work, days and storage of a pre-training run; nothing is trained."""
    from simcrop.config import override
    from simcrop.recipes import load_recipe
    from simcrop.train.plan import GPUS, Machine, make_plan

    if unknown := set(gpu or []) - set(GPUS):
        raise typer.BadParameter(f"--gpu {', '.join(unknown)}; expected of {', '.join(GPUS)}")
    if precision not in {"bf16", "32"}:
        raise typer.BadParameter(f"--precision {precision}; expected bf16 or 32")
    config = override(load_recipe(recipe), settings or [])
    machine = Machine(gpus, parse_bytes(memory), mfu)
    found = make_plan(config, machine, studies=studies, is_bf16=precision == "bf16")
    for line in _lines(found, config.name, gpu or [*GPUS]):
        print(line)


def parse_bytes(text: str | None) -> int | None:
    """Return the bytes of "80GB" or "80GiB"; wrong usage otherwise."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(G|M)(i?)B?", text, re.IGNORECASE)
    if found is None:
        raise typer.BadParameter(f"--memory {text}; expected a size like 80GB or 24GiB")
    number, unit, binary = found.groups()
    power = {"M": 2, "G": 3}[unit.upper()]
    return int(float(number) * (1024 if binary else 1000) ** power)


def _lines(plan: "Plan", name: str, gpus: list[str]) -> list[str]:
    from simcrop.train.plan import CONTEXT_BYTES, NIFTI_SHARE

    machine, gb = plan.machine, 1e9
    kind = "bf16" if plan.is_bf16 else "32-bit"
    lines = [
        f"recipe {name}, {machine.gpus} GPU(s), {kind}, {plan.studies:,} training studies",
        "",
        f"memory    {plan.peak_bytes / gb:.1f} GB at the peak with {plan.batch} studies per GPU, "
        f"{plan.step.state_bytes / gb:.1f} GB of it weights and optimizer",
    ]
    if plan.largest_batch is not None and machine.memory_bytes is not None:
        room = f"{machine.memory_bytes / gb:g} GB, {CONTEXT_BYTES / gb:.1f} of them kept free"
        fits = f"largest batch that fits into {room}: {plan.largest_batch} per GPU"
        lines.append(
            f"          {fits if plan.largest_batch else f'not even one study fits into {room}'}"
        )
    lines += [
        f"work      {plan.flops_per_study * plan.batch / 1e12:.2f} TFLOP per batch, "
        f"{plan.flops_per_study / 1e12:.2f} per study",
        f"updates   {plan.updates:,} of {plan.studies_per_update} studies, {plan.epochs:g} epochs",
        "",
        f"{'GPU':<10}{'studies/s':>10}{'epoch, min':>12}{'days':>8}"
        f"{'GB/s int16':>12}{'GB/s .nii.gz':>14}",
    ]
    for gpu in gpus:
        rate = plan.studies_per_second(gpu)
        read = rate * plan.bytes_per_study / gb
        lines.append(
            f"{gpu:<10}{rate:>10.0f}{plan.studies / rate / 60:>12.1f}{plan.days(gpu):>8.2f}"
            f"{read:>12.2f}{read * NIFTI_SHARE:>14.2f}"
        )
    return [
        *lines,
        "",
        f"Days assume {machine.mfu:.0%} of the dense bf16 peak, reports of the largest size, and "
        "that reading keeps up. GB/s is for all GPUs.",
    ]
