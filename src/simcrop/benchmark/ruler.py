"""What every cell is measured with: two stores, and what of them is the same for all cells."""

from functools import cached_property

from simcrop.benchmark.patch_probe import NUM_TRAIN, Shares, shares_of_findings
from simcrop.data.store import Store
from simcrop.evaluate.position_maps import PositionMaps
from simcrop.train.masks import training_masks
from simcrop.train.pretrained import Pretrained


class Ruler:
    """The phantoms, those of another hospital, and what is computed of them once.

    All encoders of a benchmark cut volumes into the same patches, so whichever comes first makes
    what is kept.

    Args:
        store: training, validation and test phantoms.
        away: phantoms with other noise, sizes and wordings (`simcrop phantom --away`), all for
            testing; None leaves generalisation out.
    """

    def __init__(self, store: Store, away: Store | None = None) -> None:
        self.store = store
        self.away = away
        self._position: PositionMaps | None = None
        self._shares: Shares | None = None

    @cached_property
    def patch_volumes(self) -> tuple[str, ...]:
        """The volumes of the patch probe: a few training patients, all others."""
        store = self.store
        few = store.volume_ids("train")[:NUM_TRAIN]
        return (*few, *store.volume_ids("val"), *store.volume_ids("test"))

    def position_maps(self, encoder: Pretrained) -> PositionMaps:
        """Return the maps of the training masks, which know no image."""
        if self._position is None:
            self._position = PositionMaps(training_masks(self.store, encoder))
        return self._position

    def shares(self, encoder: Pretrained) -> Shares:
        """Return where the findings of `patch_volumes` are."""
        if self._shares is None:
            self._shares = shares_of_findings(self.store, self.patch_volumes, encoder)
        return self._shares
