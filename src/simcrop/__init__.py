"""SimCroP: similarity-driven cross-granularity pre-training of chest CT and reports."""

from simcrop._version import __version__

__all__ = ["__version__"]
