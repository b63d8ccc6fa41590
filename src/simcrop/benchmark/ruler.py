"""What every cell is measured with: two stores, and what of them is the same for all cells."""

from functools import cached_property

from simcrop.benchmark.patch_probe import NUM_TRAIN, Shares, shares_of_findings
from simcrop.data.store import Store
from simcrop.evaluate.position_maps import PositionMaps
from simcrop.geometry import Shape3
from simcrop.train.masks import training_masks
from simcrop.train.pretrained import Pretrained


class Ruler:
    """The phantoms, those of another hospital, and what is computed of them once.

    What depends on patches is kept by their shape, and made for the first encoder that has it.

    Args:
        store: training, validation and test phantoms.
        away: phantoms with other noise, sizes and wordings (`simcrop phantom --away`), all for
            testing; None leaves generalisation out.
    """

    def __init__(self, store: Store, away: Store | None = None) -> None:
        self.store = store
        self.away = away
        self._position: dict[Shape3, PositionMaps] = {}
        self._shares: dict[Shape3, Shares] = {}

    @cached_property
    def patch_volumes(self) -> tuple[str, ...]:
        """The volumes of the patch probe: a few training patients, all others."""
        store = self.store
        few = store.volume_ids("train")[:NUM_TRAIN]
        return (*few, *store.volume_ids("val"), *store.volume_ids("test"))

    def position_maps(self, encoder: Pretrained) -> PositionMaps:
        """Return the maps of the training masks, which know no image."""
        patch = encoder.config.volume.patch_shape
        if patch not in self._position:
            self._position[patch] = PositionMaps(training_masks(self.store, encoder))
        return self._position[patch]

    def shares(self, encoder: Pretrained) -> Shares:
        """Return where the findings of `patch_volumes` are."""
        patch = encoder.config.volume.patch_shape
        if patch not in self._shares:
            self._shares[patch] = shares_of_findings(self.store, self.patch_volumes, encoder)
        return self._shares[patch]
