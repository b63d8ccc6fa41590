"""From the configuration tree to networks, which know nothing of the tree."""

from simcrop.config import Config
from simcrop.geometry import PatchGrid
from simcrop.model.fusion import FusionLayer
from simcrop.model.simcrop import SimCroP, Terms
from simcrop.model.text_decoder import TextDecoder
from simcrop.model.vision_decoder import VisionDecoder
from simcrop.model.vision_encoder import VisionEncoder


def build_simcrop(config: Config, *, text_dim: int, vocabulary_size: int) -> SimCroP:
    """Return the untrained networks of the terms that are on.

    Args:
        config: the whole tree.
        text_dim: width of the frozen text encoder.
        vocabulary_size: number of words that the text decoder may predict.
    """
    terms, alignment = config.terms, config.alignment
    grid = PatchGrid(config.volume.crop_shape, config.volume.patch_shape)
    encoder, position = config.vision_encoder, config.vision_encoder.position
    return SimCroP(
        VisionEncoder(grid, **encoder.model_dump()),
        vision_decoder=VisionDecoder(
            grid, encoder_dim=encoder.dim, position=position, **config.vision_decoder.model_dump()
        )
        if terms.masked_volume
        else None,
        fusion=FusionLayer(encoder.dim, **config.fusion.model_dump(exclude={"depth"}))
        if terms.masked_report and terms.fusion
        else None,
        text_decoder=TextDecoder(
            vocabulary_size,
            **config.fusion.model_dump(exclude={"word_patch", "instance_level"}),
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
        reach=alignment.reach,
    )
