"""What `benchmarks/pretrain_step.py` times beyond its peers: the whole SimCroP step.

The recipe `paper` on one study of noise, with a report of the mean length of CT-RATE's (measured on
1,000 of them: findings of 297 words in 20 sentences, reports of 334) and a BERT-base of random
weights. `small` is the same on crops of 96 x 96 x 48 voxels.
"""

from dataclasses import replace

import torch
from fresh_process import peak, reset_peak
from pretrain_contestants import Contestant
from torch import Tensor

from simcrop.config import override
from simcrop.objectives.alignment import similarity_map
from simcrop.objectives.contrast import AlignmentInput, within_report
from simcrop.recipes import load_recipe
from simcrop.train.machine import give_back_large_blocks
from simcrop.train.rehearsal import TextLengths, rehearsal, rehearsal_batch

REPORT = TextLengths(findings_words=297, report_words=334, sentences=20)
SMALL = ("volume.crop_shape=[96,96,48]",)
ONLY_VOLUME = tuple(f"terms.{one}=false" for one in ("masked_report", "alignment", "fusion"))
SETTINGS = {
    "masked volume": ONLY_VOLUME,
    "no alignment": ("terms.alignment=false",),
    "reports cached": ("masking.word_variants=1",),
    "checkpointing": ("trainer.checkpoint_activations=true",),
    "AdamW not fused": ("optimizer.fused=false",),
    "torch.compile": ("trainer.compile=true",),
}
STUDIES, SENTENCES, VISIBLE, WIDTH, TOP_K = 14, 79, 686, 768, 32  # of the largest batch


def build(setting: str, name: str) -> Contestant:
    """Return the whole step with the one change that `name` says."""
    settings = (*SETTINGS.get(name, ()), *(SMALL if setting == "small" else ()))
    config = override(load_recipe("paper"), [*settings])
    torch.manual_seed(config.seed)
    module = rehearsal(config)
    give_back_large_blocks(module.simcrop)
    encoder = module.text_encoder
    batch = rehearsal_batch(config, encoder.dim, 1, REPORT)
    ids = torch.arange(REPORT.findings_words)[None]

    def loss() -> Tensor:
        seen = batch
        if name == "findings encoded anew":
            states = encoder(ids, torch.ones_like(ids, dtype=torch.bool))
            seen = replace(batch, findings_states=states)
        generator = torch.Generator().manual_seed(config.seed)
        with torch.autocast("cpu", torch.bfloat16, enabled=name == "bf16"):
            return module.total(module.losses(seen, generator))

    return Contestant(module.configure_optimizers()["optimizer"], loss)


def alignment_memory(how: str) -> tuple[float, float]:
    """Return the MiB above its inputs that the alignment takes, and its loss.

    "product" is the package's way; "gather" fetches the K patches of each sentence, as the authors'
    lineage does.
    """
    draw = torch.Generator().manual_seed(0)
    patches = torch.randn(STUDIES, VISIBLE, WIDTH, generator=draw).requires_grad_()
    sentences = torch.randn(STUDIES, SENTENCES, WIDTH, generator=draw).requires_grad_()
    align(patches[:1, :40, :8], sentences[:1, :3, :8], how).backward()
    before = reset_peak()
    loss = align(patches, sentences, how)
    loss.backward()
    return peak() - before, float(loss.detach())


def align(patches: Tensor, sentences: Tensor, how: str) -> Tensor:
    B, S, _ = sentences.shape
    if how == "gather":
        return _gathered(patches, sentences)
    inputs = AlignmentInput(
        patches=patches,
        sentences=sentences,
        is_candidate=torch.ones(B, patches.shape[1], dtype=torch.bool),
        keys=torch.arange(B * S).view(B, S),
        is_valid=torch.ones(B, S, dtype=torch.bool),
        weights=torch.ones(B, S),
    )
    return within_report(inputs, top_k=TOP_K, temperature=0.07, reduction="report")


def _gathered(patches: Tensor, sentences: Tensor) -> Tensor:
    """The same loss by gathering K patches for every sentence."""
    B, S, E = sentences.shape
    best = similarity_map(patches, sentences).topk(TOP_K, dim=-1).indices
    index = best.flatten(1)[:, :, None].expand(-1, -1, E)
    regions = patches.gather(1, index).view(B, S, TOP_K, E).mean(dim=2)
    logits = similarity_map(regions, sentences) / 0.07
    own = torch.arange(S).expand(B, S)
    entropy = torch.nn.functional.cross_entropy
    return entropy(logits.mT, own) + entropy(logits, own)
