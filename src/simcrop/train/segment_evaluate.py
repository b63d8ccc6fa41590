"""Score segmentations: a network on a part of a store, or label maps against label maps.

On a store, labels are compared on its own voxels, as the authors do; label maps in folders are
compared on the voxels of their files, which must be the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from simcrop.data.archive import read_table
from simcrop.data.archives.decathlon import case_name, read_list
from simcrop.data.label_maps import Classes
from simcrop.data.reading import read_image
from simcrop.data.store import Store
from simcrop.data.volume import affine_of, array_of, to_ras
from simcrop.errors import DataError, complain
from simcrop.evaluate.items import Items
from simcrop.evaluate.results import SELECTED_ON_TEST, Drawing, NamedSet, Result
from simcrop.evaluate.segmentation import (
    HIGHER_IS_BETTER,
    MEASURES,
    CaseScores,
    score_case,
    segmentation_table,
    summarise_cases,
)
from simcrop.evaluate.segmentation_figures import dice_boxes, labels_figure, window_for
from simcrop.evaluate.slices import spacing_of
from simcrop.train.checkpoint import versions
from simcrop.train.features import Progress, check_contracts
from simcrop.train.segment import labelled
from simcrop.train.segmenter import Segmenter


def score_store(
    segmenter: Segmenter,
    store: Store,
    part: str = "test",
    *,
    tolerance_mm: float = 2.0,
    on_progress: Progress = lambda done, total, what: None,
) -> Result:
    """Predict and score the labelled volumes of a part of a store.

    Raises:
        DataError: if the store was made otherwise, has other classes, or none of its volumes has a
            label map.
    """
    check_contracts(store, segmenter.contract)
    volumes, classes = labelled(store, part), segmenter.setup.classes
    _check_classes(store, classes, volumes, part)
    cases = []
    for done, volume in enumerate(volumes):
        on_progress(done, len(volumes), "segment volumes")
        predicted, reference = _pair(segmenter, store, volume)
        cases.append(
            score_case(
                predicted,
                reference,
                spacing_of(store.read_hu(volume)[1]),
                len(classes),
                case_id=volume,
                patient_id=str(store.volumes.at[volume, "patient_id"]),
                tolerance_mm=tolerance_mm,
            )
        )
    on_progress(len(volumes), len(volumes), "segment volumes")
    is_selected = store.selected_on_test or segmenter.training["selected_on_test"]
    return _result(
        cases,
        classes,
        more=_best_and_worst(segmenter, store, cases),
        model="untrained" if segmenter.training["untrained"] else "pre-trained",
        set_name=part,
        note=SELECTED_ON_TEST if is_selected and part != "train" else "",
        contract_hash=segmenter.contract.hash,
        seeds=(segmenter.training["seed"],),
        settings={"training": segmenter.training, "tolerance_mm": tolerance_mm, "part": part,
                  "split": store.split_name},
    )  # fmt: skip


def score_folder(
    predictions: Path,
    references: Path,
    *,
    tolerance_mm: float = 2.0,
    on_progress: Progress = lambda done, total, what: None,
) -> Result:
    """Score label maps against those of the same name, each case a patient of its own.

    Args:
        predictions: folder of label maps.
        references: folder of label maps, with an optional anatomy_names.csv, or a dataset.json.
        tolerance_mm: of the surface Dice.
        on_progress: called with (done, total, what).

    Raises:
        DataError: if no prediction has a reference, or a pair is not on the same voxels.
    """
    true, names = _references(references)
    found = {case_name(path.name): path for path in _label_maps(predictions)}
    shared = sorted(set(true) & set(found))
    if not shared:
        raise DataError(
            complain(
                f"{predictions}: none of {len(found)} label maps has a name of {references}",
                "files of the same names",
                "Check the two folders.",
            )
        )
    pairs = {}
    for done, name in enumerate(shared):
        on_progress(done, len(shared), "read label maps")
        pairs[name] = _same_voxels(found[name], true[name])
    if not names:
        values = {int(v) for pair in pairs.values() for one in pair[:2] for v in np.unique(one)}
        names = {value: f"class {value}" for value in values - {0}}
    classes = Classes.of(names)
    cases = []
    for done, (name, (predicted, reference, spacing)) in enumerate(pairs.items()):
        on_progress(done, len(shared), "score label maps")
        labels = [
            classes.index(one, str(path))
            for one, path in ((predicted, found[name]), (reference, true[name]))
        ]
        cases.append(
            score_case(*labels, spacing, len(classes), case_id=name, patient_id=name,
                       tolerance_mm=tolerance_mm)
        )  # fmt: skip
    on_progress(len(shared), len(shared), "score label maps")
    left_out = len(true) - len(shared)
    return _result(
        cases,
        classes,
        model=predictions.name,
        set_name="cases",
        note=f"{left_out} references have no prediction and are not counted" if left_out else "",
        contract_hash="",
        seeds=(),
        settings={"tolerance_mm": tolerance_mm},
    )


def _result(
    cases: Sequence[CaseScores],
    classes: Classes,
    *,
    model: str,
    set_name: str,
    more: Mapping[str, Drawing] | None = None,
    **about: Any,
) -> Result:
    names = classes.names[1:]
    scores = summarise_cases(cases, names)
    case_ids, patients = (
        tuple(getattr(case, name) for case in cases) for name in ("case_id", "patient_id")
    )
    tables = {m: np.array([case.values(m) for case in cases]) for m in MEASURES}
    items = tuple(
        Items(model, measure, case_ids, patients, names, tables[measure],
              higher_is_better=HIGHER_IS_BETTER[measure])
        for measure in MEASURES
    )  # fmt: skip
    caption = (
        f"{len(cases)} cases of {len(set(patients))} patients, 95 % intervals over patients. A "
        "class that a case lacks in both maps is left out; in one of them, it is missed: Dice 0, "
        "and left out of the mean distances."
    )
    boxes = Drawing(dice_boxes(tables["dice"], names), "Dice of every case, by class.")
    return Result(
        command="segment evaluate",
        figures={model: scores.to_dict()},
        sets={set_name: NamedSet.of(case_ids)},
        versions=versions(),
        items=items,
        tables={caption: segmentation_table(scores)},
        drawings={"dice": boxes, **(more or {})},
        **about,
    )


def _pair(segmenter: Segmenter, store: Store, volume: str) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and true classes of a stored volume."""
    reference = segmenter.setup.classes.index(store.read_anatomy(volume), f"label map of {volume}")
    return segmenter.classes(store.read_hu(volume)[0]), reference


def _best_and_worst(
    segmenter: Segmenter, store: Store, cases: Sequence[CaseScores]
) -> dict[str, Drawing]:
    """Return pictures of the cases of the highest and lowest mean Dice, references outlined."""
    means = [float(np.ma.masked_invalid(case.values("dice")).mean()) for case in cases]
    drawings = {}
    for name, number in (("best", int(np.argmax(means))), ("worst", int(np.argmin(means)))):
        volume = cases[number].case_id
        predicted, reference = _pair(segmenter, store, volume)
        hu, affine = store.read_hu(volume)
        figure = labels_figure(
            hu, affine, predicted, segmenter.setup.classes.names,
            f"{volume}: the {name} mean Dice, {means[number]:.2f}",
            window=window_for(hu, reference), reference=reference,
        )  # fmt: skip
        drawings[name] = Drawing(figure, "Filled: predicted. Outlined: reference.")
    return drawings


def _check_classes(store: Store, classes: Classes, volumes: Sequence[str], part: str) -> None:
    there = Classes.of(store.anatomy_names)
    if there != classes or not volumes:
        raise DataError(
            complain(
                f"{store.location}: {len(volumes)} labelled volumes in {part}, with the classes "
                f"{', '.join(there.names)}",
                f"at least one, with {', '.join(classes.names)}",
                "Give the store of the training, or one with the same anatomy_names.csv.",
            )
        )


def _references(path: Path) -> tuple[dict[str, Path], Mapping[int, str]]:
    """Return label maps by name, and the names of their values; empty where none are given."""
    if path.suffix == ".json":
        listed = read_list(path)
        entries = [entry for part in listed.parts.values() for entry in part]
        return (
            {case_name(image): listed.folder / label for image, label in entries},
            listed.class_names,
        )
    table = path / "anatomy_names.csv"
    names: dict[int, str] = {}
    if table.exists():
        rows = read_table(table, ["value", "name"])
        names = dict(zip(rows["value"].astype(int), rows["name"], strict=True))
    return {case_name(file.name): file for file in _label_maps(path)}, names


def _label_maps(folder: Path) -> list[Path]:
    """Return the files of a folder that may be label maps."""
    if not folder.is_dir():
        raise DataError(complain(f"{folder}: no such folder", "label maps", "Correct the path."))
    return [path for path in sorted(folder.iterdir()) if case_name(path.name) != path.name]


def _same_voxels(
    predicted: Path, reference: Path
) -> tuple[np.ndarray, np.ndarray, tuple[float, float, float]]:
    """Return two label maps and their voxel size.

    Raises:
        DataError: if they are not on the same voxels.
    """
    images: list[sitk.Image] = [to_ras(read_image(path)) for path in (predicted, reference)]
    grids = [(image.GetSize(), affine_of(image)) for image in images]
    (shape, affine), (other_shape, other_affine) = grids
    if shape != other_shape or not np.allclose(affine, other_affine, rtol=0, atol=0.01):
        raise DataError(
            complain(
                f"{predicted}: {shape} voxels at {affine[:3, 3].round(2).tolist()} mm",
                f"those of {reference}: {other_shape} at {other_affine[:3, 3].round(2).tolist()}",
                "Predict on the volume that the reference was drawn on.",
            )
        )
    return array_of(images[0]), array_of(images[1]), spacing_of(affine)
