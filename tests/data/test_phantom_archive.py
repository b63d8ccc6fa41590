"""The archive of phantoms: complete tables, readable files, and the same bytes every time."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simcrop.data.phantom import LABEL_NAMES, ORGAN_NAMES, make_phantom, write_phantoms
from simcrop.data.reading import read_image as read_any
from simcrop.data.volume import affine_of, array_of, read_volume, to_ras

NUMBER = 9


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("phantoms") / "archive", NUMBER, seed=5)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def read_mask(path: Path) -> np.ndarray:
    return array_of(to_ras(read_any(path)))


def test_two_workers_write_the_same_bytes(archive: Path, tmp_path: Path) -> None:
    assert files(write_phantoms(tmp_path, NUMBER, seed=5, workers=2)) == files(archive)


def test_a_patient_does_not_depend_on_how_many_there_are(archive: Path, tmp_path: Path) -> None:
    fewer, all_files = files(write_phantoms(tmp_path, 2, seed=5)), files(archive)
    for name, content in fewer.items():
        if name.endswith(".nii.gz"):
            assert content == all_files[name]
        else:
            assert all_files[name].startswith(content) or name.startswith(("masks", "phantoms"))


def test_tables_name_every_study_once_and_every_file(archive: Path) -> None:
    tables = {p.stem: pd.read_csv(p, dtype=str) for p in archive.glob("*.csv")}
    assert set(tables) == {
        "volumes", "reports", "labels", "masks", "anatomy", "anatomy_names",
    }  # fmt: skip
    studies = [f"phantom_{i:06d}" for i in range(NUMBER)]
    for name in ("volumes", "reports", "labels"):
        assert tables[name]["study_id"].tolist() == studies
    assert tables["reports"]["patient_id"].is_unique
    assert tables["labels"].columns.tolist() == ["study_id", *LABEL_NAMES]
    assert tables["anatomy_names"]["name"].tolist() == list(ORGAN_NAMES)
    named = {p for n in ("volumes", "masks", "anatomy") for p in tables[n]["path"]}
    assert named == {n for n in files(archive) if n.endswith(".nii.gz")}


def test_masks_belong_to_sentences_of_the_report_and_to_the_labels(archive: Path) -> None:
    masks = pd.read_csv(archive / "masks.csv")
    reports = pd.read_csv(archive / "reports.csv", index_col="study_id")
    labels = pd.read_csv(archive / "labels.csv", index_col="study_id")
    assert labels.to_numpy().sum() == len(masks) > 0
    for row in masks.itertuples():
        assert row.sentence in reports.loc[row.study_id, "findings"]
        assert labels.loc[row.study_id, row.label] == 1
        assert (read_mask(archive / row.path) == row.value).any()


def test_a_volume_reads_back_as_it_was_made(archive: Path) -> None:
    made, volume = make_phantom(5, 3), read_volume(archive / "volumes/phantom_000003.nii.gz")
    np.testing.assert_array_equal(volume.hu, made.hu)
    np.testing.assert_allclose(volume.affine, made.affine, atol=1e-4)
    image = to_ras(read_any(archive / "anatomy/phantom_000003.nii.gz"))
    np.testing.assert_array_equal(array_of(image), made.anatomy)
    np.testing.assert_allclose(affine_of(image), made.affine, atol=1e-4)


def test_progress_counts_every_patient(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_phantoms(tmp_path, 3, seed=0, on_progress=lambda *counts: seen.append(counts))
    assert seen == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(("number", "workers"), [(0, 1), (1, 0)])
def test_nothing_to_do_or_nobody_to_do_it_is_refused(
    tmp_path: Path, number: int, workers: int
) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        write_phantoms(tmp_path, number, seed=0, workers=workers)
