"""From features and a store's labels to what a head may see and what it is tested on."""

import numpy as np
import pandas as pd

from simcrop.data.label_names import shared_labels
from simcrop.data.store import Store
from simcrop.errors import DataError, complain
from simcrop.evaluate.held_out import Development, HeldOut, Inputs, Part
from simcrop.evaluate.scorecard import exclude_each_other
from simcrop.train.features import Features


def divide(features: Features, store: Store) -> tuple[Development, HeldOut]:
    """Return the development and the held-out volumes of a store, by its split.

    Volumes without labels, and volumes without features, are left out.

    Raises:
        DataError: if the store has no labels, or no training or test volume.
    """
    table = store.need_labels()
    train, val, test = (part_of(features, store, table, name) for name in ("train", "val", "test"))
    development = _development(_need(train, store, "train"), val, table)
    return development, HeldOut(_need(test, store, "test"), tuple(table.columns))


def divide_foreign(
    features: Features, store: Store, test_features: Features, test_store: Store, *, part: str
) -> tuple[Development, HeldOut]:
    """Return a development of one store and held-out volumes of another, by label name.

    Labels are matched by `shared_labels`, on the training side before anything is fitted: a
    merged label is learned as such.

    Args:
        features: of the volumes to learn from.
        store: gives their labels and split.
        test_features: of the volumes to test on.
        test_store: gives their labels.
        part: `test`, or `all` volumes of the test store.

    Raises:
        DataError: as `divide`, or if the sets have no label in common.
    """
    own, foreign = store.need_labels(), test_store.need_labels()
    shared = shared_labels([*own.columns], [*foreign.columns])
    if not shared:
        raise DataError(
            complain(
                f"labels {', '.join(own.columns)} and {', '.join(foreign.columns)}",
                "two sets with a label in common",
                "Give labels.csv of both the same names.",
            )
        )
    own = _merged(own, {label.name: label.of_first for label in shared})
    foreign = _merged(foreign, {label.name: label.of_second for label in shared})
    train, val = (part_of(features, store, own, name) for name in ("train", "val"))
    test = part_of(test_features, test_store, foreign, part)
    development = _development(_need(train, store, "train"), val, own)
    return development, HeldOut(_need(test, test_store, part), tuple(foreign.columns))


def part_of(features: Features, store: Store, table: pd.DataFrame, name: str) -> Part:
    """Return the labelled volumes of `train`, `val`, `test` or `all` that have features."""
    row_of = {volume: row for row, volume in enumerate(features.index["volume_id"])}
    volumes = [
        volume
        for volume in store.volume_ids(None if name == "all" else name)
        if volume in row_of and store.study_of(volume) in table.index
    ]
    rows = np.array([row_of[volume] for volume in volumes], dtype=np.int64)
    labels = table.loc[[store.study_of(volume) for volume in volumes]].to_numpy(dtype=np.int64)
    return Part(
        Inputs(features.volume_embeddings[rows], features.patch_tokens, rows),
        labels,
        tuple(volumes),
        tuple(str(store.volumes.at[volume, "patient_id"]) for volume in volumes),
    )


def _need(part: Part, store: Store, name: str) -> Part:
    if not part:
        raise DataError(
            complain(
                f"{store.location} has no labelled volume in its {name} part",
                "at least one patient in train and in test, with features",
                "Prepare more patients, give reports.csv a `split` column, or embed this store.",
            )
        )
    return part


def _development(train: Part, val: Part, table: pd.DataFrame) -> Development:
    are_exclusive = exclude_each_other(np.concatenate([train.labels, val.labels]))
    return Development(train, val, tuple(table.columns), are_exclusive)


def _merged(table: pd.DataFrame, parts_of: dict[str, tuple[str, ...]]) -> pd.DataFrame:
    """Return one column for each name: positive where any of its parts is."""
    columns = {name: table[[*parts]].max(axis=1) for name, parts in parts_of.items()}
    return pd.DataFrame(columns, index=table.index)
