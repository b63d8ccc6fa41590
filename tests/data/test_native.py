"""The way back to the file's own grid, held against the file itself, nibabel and plain numpy."""

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_ct import blob, empty_ras, oblique, paint, world_of, write_dicom

from simcrop.data.contract import Contract
from simcrop.data.native import on_native_grid, write_native
from simcrop.data.prepare import prepare
from simcrop.data.preprocessing import center_crop, prepare_volume, resample
from simcrop.data.store import Store
from simcrop.data.volume import (
    Volume,
    affine_of,
    array_of,
    from_image,
    read_volume,
    to_image,
    to_ras,
)
from simcrop.errors import DataError
from simcrop.geometry import VoxelGrid

SMALL = Contract(spacing_mm=(3.0, 3.0, 4.0), crop_shape=(24, 24, 16), patch_shape=(4, 4, 4))
SHAPE, SPACING = (18, 20, 22), (2.53125, 2.7, 3.0)  # spacing that rounding to 1e-4 changes


def speckled(image: sitk.Image) -> sitk.Image:
    """Give every voxel a value of its own, so that a wrong neighbour shows."""
    values = np.arange(np.prod(image.GetSize()), dtype=np.int16).reshape(image.GetSize()[::-1])
    painted = sitk.GetImageFromArray(values - 1024)
    painted.CopyInformation(image)
    return painted


def native_of(path) -> sitk.Image:
    return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path))
                          if path.is_dir() else str(path))  # fmt: skip


@pytest.mark.parametrize("name", ["ct.nii.gz", "ct.nrrd", "ct.mha", "series"])
@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SPR", "AIL", "oblique"])
def test_labels_come_back_to_the_files_own_voxels(tmp_path, name, orientation):
    image = speckled(empty_ras(SHAPE, SPACING))
    if orientation == "oblique":
        image = speckled(oblique(23.7, SHAPE, SPACING))
    else:
        image = sitk.DICOMOrient(image, orientation)
    path = tmp_path / name
    if name == "series":
        write_dicom(path, image)
    else:
        sitk.WriteImage(image, str(path))
    native = native_of(path)
    volume = read_volume(path)
    grid = volume.native_grid
    back = on_native_grid(volume.hu, volume.affine, grid, interpolation="nearest")
    assert back.dtype == np.int16
    np.testing.assert_array_equal(back, array_of(native))

    write_native(tmp_path / "labels.nii.gz", back, grid)
    written = sitk.ReadImage(str(tmp_path / "labels.nii.gz"))
    assert written.GetSize() == native.GetSize()
    np.testing.assert_allclose(affine_of(written), affine_of(native), atol=1e-4)
    np.testing.assert_array_equal(array_of(written), array_of(native))
    if name == "ct.nii.gz":
        mine, theirs = nib.load(tmp_path / "labels.nii.gz"), nib.load(path)
        np.testing.assert_allclose(mine.affine, theirs.affine, atol=1e-5)
        assert nib.aff2axcodes(mine.affine) == nib.aff2axcodes(theirs.affine)


@pytest.mark.parametrize("crop", [(8, 8, 8), (28, 28, 28), (28, 8, 28)])
def test_a_crop_comes_back_where_it_was_cut_and_padding_goes(tmp_path, crop):
    image = sitk.DICOMOrient(speckled(empty_ras(SHAPE, (2.5, 2.5, 3.0))), "PIL")
    sitk.WriteImage(image, str(tmp_path / "ct.mha"))
    contract = Contract(spacing_mm=(2.5, 2.5, 3.0), crop_shape=crop, patch_shape=(4, 4, 4))
    volume = prepare_volume(tmp_path / "ct.mha", contract)
    seen = center_crop(volume.hu, volume.affine, contract)
    back = on_native_grid(
        seen.voxels, seen.affine, volume.native_grid, interpolation="nearest", outside=-9999.0
    )
    is_seen = back != -9999
    assert is_seen.sum() == np.prod(np.minimum(crop, SHAPE))
    np.testing.assert_array_equal(back[is_seen], array_of(image)[is_seen])


@pytest.mark.parametrize("degrees", [0.0, 31.0])
def test_resampled_labels_and_patches_take_the_nearest_cell(tmp_path, degrees):
    image = paint(oblique(degrees, SHAPE, SPACING), blob)
    sitk.WriteImage(sitk.DICOMOrient(image, "SLA"), str(tmp_path / "ct.nrrd"))
    native = sitk.ReadImage(str(tmp_path / "ct.nrrd"))
    volume = prepare_volume(tmp_path / "ct.nrrd", SMALL)
    crop = center_crop(volume.hu, volume.affine, SMALL)
    rng = np.random.default_rng(0)
    patches = SMALL.patch_grid
    for values, affine in (
        (rng.integers(1, 5, volume.shape).astype(np.uint8), volume.affine),
        (rng.integers(1, 5, patches.shape).astype(np.uint8), patches.affine(crop.affine)),
    ):
        back = on_native_grid(values, affine, volume.native_grid, interpolation="nearest")
        inverse = np.linalg.inv(affine)
        place = world_of(native) @ inverse[:3, :3].T + inverse[:3, 3]
        cell = np.rint(place).astype(int)
        is_clear = (np.abs(place - np.floor(place) - 0.5) > 1e-3).all(axis=-1)  # no tie
        is_inside = ((cell >= 0) & (cell < values.shape)).all(axis=-1)
        inside = is_clear & is_inside
        assert inside.mean() > 0.5
        np.testing.assert_array_equal(back[inside], values[tuple(cell[inside].T)])
        assert not back[is_clear & ~is_inside].any()


def test_a_map_of_patches_lies_on_the_native_volume_where_it_belongs():
    native = from_image(to_ras(paint(empty_ras(), blob)), "native")
    crop = center_crop(*resampled_of(native), SMALL)
    grid = SMALL.patch_grid
    ramp = (np.array([0.5, -1.0, 2.0]) * grid.centers_mm(crop.affine)).sum(axis=1)
    on_native = on_native_grid(
        ramp.reshape(grid.shape), grid.affine(crop.affine), native, outside=np.nan
    )
    index = np.argwhere(np.isfinite(on_native))
    points = index @ native.affine[:3, :3].T + native.affine[:3, 3]
    lowest, highest = np.sort(grid.centers_mm(crop.affine)[[0, -1]], axis=0)
    inner = ((points >= lowest) & (points <= highest)).all(axis=1)
    assert inner.sum() > 5000
    expected = (np.array([0.5, -1.0, 2.0]) * points[inner]).sum(axis=1)
    np.testing.assert_allclose(on_native[tuple(index[inner].T)], expected, atol=1e-3)


def test_beyond_the_map_the_native_grid_holds_the_outside_value():
    native = from_image(to_ras(paint(empty_ras(), blob)), "native")
    far = native.affine.copy()
    far[:3, 3] += 1000
    assert (on_native_grid(np.ones((3, 3, 3)), far, native, outside=-2.0) == -2).all()


def test_an_array_of_another_grid_is_not_written(tmp_path):
    grid = VoxelGrid((3, 4, 5), np.eye(4))
    with pytest.raises(ValueError, match=r"array of \(5, 4, 3\) on a grid of \(3, 4, 5\)"):
        write_native(tmp_path / "x.nii.gz", np.zeros((5, 4, 3), np.uint8), grid)


@settings(max_examples=40, deadline=None)
@given(
    degrees=st.tuples(*[st.floats(-180, 180)] * 3),
    flips=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    spacing=st.tuples(*[st.floats(0.3, 6)] * 3),
)
def test_orientation_agrees_with_nibabel_and_json_keeps_every_digit(degrees, flips, spacing):
    turn = sitk.Euler3DTransform((0, 0, 0), *np.deg2rad(degrees).tolist())
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(turn.GetMatrix(), (3, 3)) * flips * np.array(spacing)
    affine[:3, 3] = (1.23456789, -1e3 / 7, 0)
    grid = VoxelGrid((7, 8, 9), affine)
    strengths = np.sort(np.abs(affine[:3, :3] / spacing), axis=0)
    if (strengths[2] - strengths[1] > 0.2).all():  # no axis between two sides
        assert grid.orientation == "".join(nib.aff2axcodes(affine))
    again = VoxelGrid.from_json(grid.to_json())
    assert again.shape == grid.shape
    np.testing.assert_array_equal(again.affine, affine)


def test_a_store_knows_the_grid_of_every_source(tmp_path, archive_dir):
    prepare(archive_dir, tmp_path / "store", SMALL)
    store = Store(tmp_path / "store")
    for volume, name in (("v1", "v1.nii.gz"), ("v1_again", "v1_series"), ("v2", "v2.nrrd")):
        expected = native_of(archive_dir / name)
        grid = store.native_grid(volume)
        assert grid.shape == expected.GetSize()
        np.testing.assert_allclose(grid.affine, affine_of(expected), atol=1e-9)
    assert store.native_grid("v1_again").orientation == "LPS"
    store.volumes = store.volumes.drop(columns="native_grid")  # as an older version wrote it
    with pytest.raises(DataError, match=r"no native grid of volume v1; .*Prepare the store again"):
        store.native_grid("v1")


def resampled_of(native: Volume) -> tuple[np.ndarray, np.ndarray]:
    image = resample(to_image(native.hu, native.affine), SMALL)
    return array_of(image), affine_of(image)
