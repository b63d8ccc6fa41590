"""From the configuration tree to networks, which know nothing of the tree."""

from simcrop.config import Config, TrainerConfig, VisionEncoderConfig, VolumeConfig
from simcrop.geometry import PatchGrid
from simcrop.model.cell_embedding import CellEmbedding
from simcrop.model.fusion import FusionLayer
from simcrop.model.simcrop import SimCroP, Terms
from simcrop.model.text_decoder import TextDecoder
from simcrop.model.transformer import PreNormBlock
from simcrop.model.vision_decoder import VisionDecoder
from simcrop.model.vision_encoder import VisionEncoder

ENCODER_ONLY = Terms(False, False, False, False)


def build_encoder(config: Config) -> VisionEncoder:
    """Return the untrained vision encoder."""
    return encoder_for(config.volume, config.vision_encoder)


def encoder_for(volume: VolumeConfig, settings: VisionEncoderConfig) -> VisionEncoder:
    """Return the untrained vision encoder of crops that a volume section describes."""
    grid = PatchGrid(volume.crop_shape, volume.patch_shape)
    sizes = settings.model_dump(include={"dim", "depth", "heads", "mlp_ratio", "position"})
    if settings.embedding == "linear":
        return VisionEncoder(grid, **sizes)
    low, high = volume.window_hu
    cells = CellEmbedding(
        grid,
        settings.dim,
        block_shape=settings.block_shape,
        cell_shape=settings.cell_shape,
        cell_dim=settings.cell_dim,
        levels=[2 * (hu - low) / (high - low) - 1 for hu in settings.levels_hu],
    )
    return VisionEncoder(grid, **sizes, patch_embedding=cells)


def encoder_only(encoder: VisionEncoder) -> SimCroP:
    """Return an assembly that has the encoder and nothing else."""
    return SimCroP(
        encoder,
        vision_decoder=None,
        fusion=None,
        text_decoder=None,
        text_dim=1,
        terms=ENCODER_ONLY,
    )


def build_simcrop(config: Config, *, text_dim: int, vocabulary_size: int) -> SimCroP:
    """Return the untrained networks of the terms that are on.

    Args:
        config: the whole tree.
        text_dim: width of the frozen text encoder.
        vocabulary_size: number of words that the text decoder may predict.
    """
    terms, alignment = config.terms, config.alignment
    encoder = build_encoder(config)
    has_fusion = terms.masked_report and terms.fusion
    looks_at_embeddings = has_fusion and config.fusion.looks_at == "embeddings"
    return SimCroP(
        encoder,
        vision_decoder=VisionDecoder(
            encoder.grid,
            encoder_dim=encoder.dim,
            position=config.vision_encoder.position,
            **config.vision_decoder.model_dump(),
        )
        if terms.masked_volume
        else None,
        fusion=FusionLayer(
            alignment.shared_dim if looks_at_embeddings else encoder.dim,
            **config.fusion.model_dump(exclude={"depth", "dropout", "looks_at"}),
        )
        if has_fusion
        else None,
        text_decoder=TextDecoder(
            vocabulary_size,
            **config.fusion.model_dump(include={"dim", "depth", "heads", "mlp_dim"}),
        )
        if terms.masked_report
        else None,
        text_dim=text_dim,
        shared_dim=alignment.shared_dim,
        report_dim=config.fusion.dim,
        terms=Terms(
            terms.masked_volume,
            terms.masked_report,
            terms.alignment,
            terms.fusion,
            terms.instance_contrast,
        ),
        normalise_text=alignment.normalise_text,
        standardise=alignment.standardise,
        fusion_in_shared_space=looks_at_embeddings,
        reach=alignment.reach,
    )


def set_up_blocks(simcrop: SimCroP, settings: TrainerConfig) -> None:
    """Apply to the vision blocks what a run may do with them; parameters and names stay."""
    for part in simcrop.modules():
        if isinstance(part, PreNormBlock):
            part.keeps_activations = not settings.checkpoint_activations
            if settings.compile:
                part.compile()
