"""The public sets, read exactly as published: each file here knows one set's layout and names.

An adapter opens no volume. It finds files, reads the set's tables and returns an `Archive`, which
`simcrop prepare` treats like any other.
"""

from collections.abc import Callable
from pathlib import Path

from simcrop.data.archive import Archive, check_studies
from simcrop.data.archives import btcv, cc_ccii, ct_rate, decathlon, luna16, rad_chest_ct
from simcrop.data.archives.parts import Draw, with_paper_split
from simcrop.errors import DataError, complain

__all__ = ["LAYOUTS", "Draw", "read_public_set"]

LAYOUTS: dict[str, Callable[[Path, Draw], Archive]] = {
    "ct_rate": ct_rate.read,
    "rad_chest_ct": rad_chest_ct.read,
    "cc_ccii": cc_ccii.read,
    "luna16": luna16.read,
    "btcv": btcv.read,
    "decathlon": decathlon.read,
}


def read_public_set(
    folder: Path | str, layout: str, draw: Draw, paper_lists: Path | str | None = None
) -> Archive:
    """Read the tables of a public set and find its volumes.

    Args:
        folder: where the set was unpacked.
        layout: its name in `LAYOUTS`.
        draw: how validation patients are drawn.
        paper_lists: folder with the authors' train_list.csv, val_list.csv and test_list.csv.

    Raises:
        DataError: if the folder is not laid out as published, or a table contradicts itself.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(
            complain(f"{folder}: no such folder", f"the {layout} set", "Correct the path."),
            "missing_table",
        )
    archive = LAYOUTS[layout](folder, draw)
    if not len(archive.volumes):
        raise DataError(
            complain(
                f"{folder}: no volume of {layout}",
                f"the layout in docs/how-to/{layout.replace('_', '-')}.md",
                "Give the folder that holds it, unpacked.",
            ),
            "no_volumes",
        )
    check_studies(archive.volumes, archive.reports, folder, folder)
    return archive if paper_lists is None else with_paper_split(archive, Path(paper_lists))
