"""BTCV: 30 labelled abdomens in the layout of the Decathlon: a JSON list with 14 classes.

The published list trains on 24 and both chooses and reports on 6. Here these 6 are the test part
and val is carved from the 24; the published way is `paper_split`, which needs no lists.
"""

from dataclasses import replace
from pathlib import Path

from simcrop.data.archive import Archive
from simcrop.data.archives.decathlon import as_archive, read_list
from simcrop.data.archives.parts import Draw, find_table
from simcrop.data.label_names import BTCV
from simcrop.errors import DataError, complain


def read(folder: Path, draw: Draw) -> Archive:
    """Read BTCV; images without labels are left out, and classes have our names.

    Raises:
        DataError: if dataset.json is missing, damaged, or does not have the 14 classes.
    """
    path = find_table(folder, "dataset.json", "dataset_0.json")
    listed = read_list(path)
    if sorted(listed.class_names) != list(range(len(BTCV))):
        raise DataError(
            complain(
                f"{path}: {len(listed.class_names)} classes",
                f"{len(BTCV)} classes: {', '.join(BTCV)}",
                "Take the list that comes with the benchmark, or --layout decathlon.",
            ),
            "unknown_label",
        )
    archive = as_archive(replace(listed, class_names=dict(enumerate(BTCV))), draw, "btcv")
    is_test = archive.reports.set_index("study_id")["split"] == "test"
    paper = is_test.map({True: "val+test", False: "train"}).rename_axis("volume_id")
    return replace(archive, paper_split=paper.rename("split").reset_index())
