"""A store with fewer volumes than it has: what few patients are worth."""

from pathlib import Path

from simcrop.data.store import Store


class SmallerStore(Store):
    """A store whose parts end early; parts that are not named stay whole.

    Args:
        location: of the store.
        **most: volumes of `train`, `val` and `test`, the first of each.
    """

    def __init__(self, location: Path | str, **most: int) -> None:
        super().__init__(location)
        self._most = most

    def volume_ids(self, split: str | None = None) -> list[str]:
        """Return the volumes of a part, or of all parts."""
        if split is None:
            return [v for part in ("train", "val", "test") for v in self.volume_ids(part)]
        return super().volume_ids(split)[: self._most.get(split)]
