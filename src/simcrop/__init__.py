"""SimCroP: similarity-driven cross-granularity pre-training of chest CT and reports.

>>> model = simcrop.load("runs/demo/tiny_recommended")
>>> model.embed_volume("ct.nii.gz")
>>> model.similarity_map("ct.nii.gz", ["Pleural effusion on the left."])
"""

from typing import TYPE_CHECKING, Any

from simcrop._version import __version__

if TYPE_CHECKING:
    from simcrop.train.pretrained import Pretrained, SimilarityMap, load

__all__ = ["Pretrained", "SimilarityMap", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: `import simcrop` stays light."""
    if name in __all__:
        from simcrop.train import pretrained

        return getattr(pretrained, name)
    raise AttributeError(f"module 'simcrop' has no attribute {name!r}")
