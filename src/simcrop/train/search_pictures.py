"""What a search found, as files: the table, and a map and a picture of every find."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from simcrop.data.atomic import atomic_path
from simcrop.data.store import Store
from simcrop.data.volume import Volume, read_volume, write_volume
from simcrop.train.features import Progress
from simcrop.train.ground import picture
from simcrop.train.pretrained import Pretrained
from simcrop.train.search import Found
from simcrop.train.search_index import SearchIndex


def write_found(
    found: Sequence[Found],
    index: SearchIndex,
    pretrained: Pretrained,
    folder: Path,
    *,
    on_progress: Progress = lambda done, total, what: None,
) -> Path:
    """Write `found.csv`, and `QUERY_RANK_map.nii.gz` and `QUERY_RANK_picture.png` of each find.

    The volumes are read from the store or the files that the index was made from; returns the path
    of the table.

    Raises:
        DataError: if a volume is no longer there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = Store(index.description["store"]) if index.description["store"] else None
    queries = list(dict.fromkeys(one.query for one in found))
    for done, one in enumerate(found, start=1):
        if store is None:
            volume = read_volume(one.volume_id)
        else:
            volume = Volume(*store.read_hu(one.volume_id), one.volume_id)
        maps = pretrained.similarity_map(volume, [one.query])
        name = f"{queries.index(one.query) + 1}_{one.rank}"
        values = maps.values[0].astype(np.float32)
        write_volume(folder / f"{name}_map.nii.gz", values, maps.affine)
        with atomic_path(folder / f"{name}_picture.png") as path:
            picture(maps, 0, one.query, volume, None).savefig(path, dpi=144)
        on_progress(done, len(found), "draw")
    rows = [
        {
            "query": one.query,
            "rank": one.rank,
            "study_id": one.study_id,
            "volume_id": one.volume_id,
            "score": one.score,
            **dict(zip(("x_mm", "y_mm", "z_mm"), one.mm, strict=True)),
            "axial_slice": "" if one.slice is None else one.slice[0],
        }
        for one in found
    ]
    with atomic_path(folder / "found.csv") as path:
        pd.DataFrame(rows).to_csv(path, index=False)
    return folder / "found.csv"
