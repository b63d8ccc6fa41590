"""`simcrop finetune`: the tuned encoder beside the frozen one, on the same test volumes."""

from collections.abc import Sequence
from pathlib import Path

from simcrop.config import FinetuneConfig
from simcrop.data.store import Store
from simcrop.evaluate.held_out import fix_head
from simcrop.evaluate.results import Result
from simcrop.train.checkpoint import save_encoder
from simcrop.train.features import Features, embed_store
from simcrop.train.finetune import Progress, finetune_encoder, tuned
from simcrop.train.gradient_head import NetworkHead
from simcrop.train.pretrained import Pretrained
from simcrop.train.probe import ProbePlan, ProbeResult, probe_parts, score_head
from simcrop.train.probe_folder import probe_result
from simcrop.train.probe_parts import divide


def finetune(
    pretrained: Pretrained,
    store: Store,
    config: FinetuneConfig,
    folder: Path,
    *,
    fractions: Sequence[float] = (1.0,),
    seeds: Sequence[int] = (0,),
    feature: str = "post_norm_gap",
    device: str = "cpu",
    on_progress: Progress = lambda done, total, what: None,
) -> Result:
    """Fine-tune for every fraction and seed; the first encoder is kept as a checkpoint.

    A logistic regression on the frozen features of the same patients stands beside it.

    Raises:
        DataError: as `simcrop.train.probe.probe`.
    """

    def embed(encoder: Pretrained) -> Features:
        return embed_store(encoder, store, feature=feature, on_progress=on_progress)

    development, held_out = divide(embed(pretrained), store)
    plan = ProbePlan(fractions=tuple(fractions), seeds=tuple(seeds), device=device)
    frozen = probe_parts(development, held_out, plan)
    results: list[ProbeResult] = []
    for fraction in sorted(set(fractions), reverse=True):
        for seed in seeds:
            part = development.of_fraction(fraction, seed)
            module = finetune_encoder(
                pretrained, store, part, config,
                feature=feature, seed=seed, device=device, on_progress=on_progress,
            )  # fmt: skip
            encoder, head = tuned(pretrained, module)
            if not results:
                save_encoder(
                    folder / "checkpoint", encoder.simcrop.vision_encoder, encoder.config,
                    feature=feature, origin={"source": "fine-tuned", "store": store.location},
                )  # fmt: skip
            whole, tested = divide(embed(encoder), store)
            part = whole.of_fraction(fraction, seed)
            name = f"epoch {module.best_epoch}"
            fixed = fix_head(
                part,
                {name: NetworkHead(head.to(device), part.are_exclusive, device)},
                default=name,
                settings={"head": "finetune", "seed": seed, **config.model_dump(),
                          "val_score_of_epochs": module.val_scores},
            )  # fmt: skip
            results.append(score_head(fixed, part, tested, fraction, seed))
    probes = {"fine-tuned": results, "frozen": frozen}
    return probe_result(probes, plan, store, feature=feature, command="finetune")
