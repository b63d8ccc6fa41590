"""What the losses do not tell: whether sentences and words really use the volume.

A falling alignment loss is no evidence of grounding, and hidden words can be guessed from their
neighbours (method.md, sections 6 and 17). On a fixed sample of validation studies, at every
validation, a run therefore measures

    own_volume_normal, own_volume_abnormal   share of other volumes that fit a sentence less
                                             than its own, chance 0.5; volumes whose report says the
                                             same are left out
    air_share                                share of air among the patches that sentences select
    words_true, words_shuffled, words_empty  hidden words named rightly with the true volume, with
                                             another study's, with air alone
    gradient_NAME                            norm of that term's gradient at the vision encoder;
                                             left out where the weights are spread (fsdp)
"""

import torch
from jaxtyping import Bool, Float, Int
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from simcrop.data.replacement import ReadableStudies
from simcrop.data.samples import Batch, collate
from simcrop.model.patch_masking import PatchMasking, mask_patches
from simcrop.objectives.alignment import pool_patches, select_top_k, similarity_map
from simcrop.objectives.report_modelling import counted_words
from simcrop.train.pretrain import Pretraining, step_generator

_STEP = 2**32  # number of the draws; above those of training and validation


def diagnose(module: Pretraining, batch: Batch) -> dict[str, float]:
    """Return every figure that the terms of the run allow, by its name.

    The networks are left as they are: no parameter, no gradient and no mode changes.
    """
    was_training = module.training
    module.eval()
    found: dict[str, float] = {}
    with torch.inference_mode(False):
        with torch.no_grad():
            if module.config.terms.alignment:
                found |= _own_against_other(module, batch)
            if module.config.terms.masked_report:
                found |= _hidden_words(module, batch)
        with torch.enable_grad():
            found |= _gradient_norms(module, batch)
    module.train(was_training)
    return found


def own_volume_share(
    scores: Float[Tensor, "sentences volumes"],
    own: Int[Tensor, " sentences"],
    is_comparable: Bool[Tensor, "sentences volumes"],
) -> Float[Tensor, " sentences"]:
    """Return, for each sentence, the share of other volumes that score below its own; ties half.

    nan where no other volume is comparable. The mean over sentences is an AUROC whose chance is
    0.5.
    """
    own_score = scores.gather(1, own[:, None])
    is_other = is_comparable & (torch.arange(scores.shape[1], device=own.device) != own[:, None])
    wins = (own_score > scores).float() + 0.5 * (own_score == scores).float()
    return (wins * is_other).sum(dim=1) / is_other.sum(dim=1)


def _own_against_other(module: Pretraining, batch: Batch) -> dict[str, float]:
    model, settings = module.simcrop, module.config.alignment
    one_by_one = model.grid.cut(batch.voxels).split(1)
    patches = torch.cat([model.embed_patches(volume) for volume in one_by_one])
    sentences = model.embed_sentences(
        batch.findings_states, batch.sentence_of_word, batch.sentence_keys.shape[1]
    )
    study, place = batch.sentence_is_valid.nonzero(as_tuple=True)
    if not len(study):
        return {}
    queries, keys = sentences[study, place], batch.sentence_keys[study, place]
    is_candidate = batch.is_body if settings.candidates == "body" else None
    similarity = similarity_map(patches, queries.expand(len(batch), -1, -1))
    selected = select_top_k(similarity, settings.top_k, is_candidate)
    regions = pool_patches(patches, selected)
    scores = torch.cosine_similarity(queries.expand_as(regions), regions, dim=-1).T
    says = (keys[:, None, None] == batch.sentence_keys) & batch.sentence_is_valid
    share = own_volume_share(scores, study, ~says.any(dim=2))
    is_normal = batch.sentence_is_normal[study, place]
    found = {}
    for name, chosen in (("normal", is_normal), ("abnormal", ~is_normal)):
        known = share[chosen & share.isfinite()]
        if len(known):
            found[f"own_volume_{name}"] = float(known.mean())
    own_selection = selected[study, torch.arange(len(study), device=study.device)]
    in_air = (own_selection & ~batch.is_body[study]).sum() / own_selection.sum()
    return {**found, "air_share": float(in_air)}


def _hidden_words(module: Pretraining, batch: Batch) -> dict[str, float]:
    terms = module.config.terms
    is_counted = counted_words(batch.is_masked, batch.report_is_valid, terms.report_positions)
    is_right = hidden_words_named(module, batch, is_counted & batch.is_masked)
    return {f"words_{n}": float(r.float().mean()) for n, r in is_right.items() if len(r)}


def hidden_words_named(
    module: Pretraining, batch: Batch, is_counted: Bool[Tensor, "batch report_words"]
) -> dict[str, Bool[Tensor, " counted"]]:
    """Return which hidden words are named rightly, with each kind of volume that fusion may see.

    Args:
        module: the run, in evaluation mode.
        batch: studies; `shuffled` gives each the volume of the one before it.
        is_counted: the hidden words that are asked for.
    """
    words = module.word_class[batch.report_ids[is_counted]]
    inputs = module.inputs(batch, is_counted)
    volumes = {"true": inputs.patches}
    if module.config.terms.fusion:
        volumes["shuffled"] = inputs.patches.roll(1, dims=0)
        volumes["empty"] = torch.full_like(inputs.patches, -1.0)
    masking = _masking(module, len(batch))
    named = {}
    for name, patches in volumes.items():
        tokens = None
        if module.simcrop.fusion_in_shared_space:
            tokens = module.simcrop.embed_patches(patches)
        elif module.config.terms.fusion:
            tokens = module.simcrop.vision_encoder(patches, masking.visible).patch_tokens
        named[name] = module.simcrop.reconstruct_report(inputs, tokens).argmax(dim=-1) == words
    return named


def _gradient_norms(module: Pretraining, batch: Batch) -> dict[str, float]:
    parameters = [p for p in module.simcrop.vision_encoder.parameters() if p.requires_grad]
    if not parameters or isinstance(module.simcrop, FSDPModule):
        return {}
    losses = module.losses(batch, step_generator(module.config.seed, _STEP))
    found = {}
    for name, loss in losses.items():
        gradients = (
            torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
            if loss.requires_grad
            else ()
        )
        norms = [gradient.norm() for gradient in gradients if gradient is not None]
        found[f"gradient_{name}"] = float(torch.stack(norms).norm()) if norms else 0.0
    return found


def _masking(module: Pretraining, num_studies: int) -> PatchMasking:
    generator = step_generator(module.config.seed, _STEP)
    ratio = module.config.masking.patch_ratio
    drawn = mask_patches(num_studies, module.simcrop.grid.num_patches, ratio, generator)
    return PatchMasking(*(index.to(module.device) for index in drawn))


class DiagnosticsCallback(Callback):
    """Run the diagnostics after every validation; all processes do, since weights may be spread.

    Args:
        studies: the validation studies.
        num_studies: how many of them; always the first ones.
    """

    def __init__(self, studies: ReadableStudies, num_studies: int) -> None:
        self.studies = studies
        self.num_studies = min(num_studies, len(studies))
        self._batch: Batch | None = None

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure and log; the sample is read once and kept."""
        if not self.num_studies or not trainer.loggers:
            return
        assert isinstance(pl_module, Pretraining)
        with torch.inference_mode(False):
            if self._batch is None:
                self._batch = collate(
                    self.studies.__getitems__([(0, i) for i in range(self.num_studies)])
                )
            batch = pl_module.transfer_batch_to_device(self._batch, pl_module.device, 0)
            found = diagnose(pl_module, batch)
        named = {f"val/{name}": value for name, value in found.items()}
        for logger in trainer.loggers:
            logger.log_metrics(named, step=trainer.global_step)
