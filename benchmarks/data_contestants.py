"""What `benchmarks/data.py` times: one function per way of doing the same work.

Each takes a path and returns an array; imports stand inside, so that a process loads only what its
contestant needs.
"""

import csv
import tempfile
from functools import cache
from itertools import count
from pathlib import Path

import numpy as np

SPACING_MM, CROP, SEED = (1.5, 1.5, 3.0), (224, 224, 112), 0
_EPOCHS = count()
_PIECE = (slice(64, 160), slice(64, 160), slice(32, 80))


def prepare(path: Path) -> np.ndarray:
    """Our reading, checks and resampling: all of a `prepare` job but the writing."""
    from simcrop.data.contract import Contract
    from simcrop.data.preprocessing import prepare_volume

    return prepare_volume(path, Contract()).hu


def prepare_antialiased(path: Path) -> np.ndarray:
    """The same with every slice averaged in."""
    from simcrop.data.contract import Contract
    from simcrop.data.preprocessing import prepare_volume

    return prepare_volume(path, Contract(interpolation="antialiased")).hu


def prepare_and_write(path: Path) -> np.ndarray:
    """A whole `prepare` job: also looks for lungs, compresses, writes and records."""
    from simcrop.data.contract import Contract
    from simcrop.data.jobs import Job, run_job

    with tempfile.TemporaryDirectory() as store:
        run_job(Job("a", "a", str(path), (), "", Path("/")), Contract(), Path(store))
    return np.zeros(0)


def simpleitk(path: Path) -> np.ndarray:
    """The least that can be done with SimpleITK: read, one resampling, no check, truncation."""
    import SimpleITK as sitk  # noqa: N813

    if path.is_dir():
        names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path))
        image = sitk.ReadImage(names)
    else:
        image = sitk.ReadImage(str(path))
    size = np.array(image.GetSize()) * image.GetSpacing()
    shape = np.maximum(np.floor(size / SPACING_MM + 1e-6), 1).astype(int).tolist()
    shift = (np.array(SPACING_MM) - image.GetSpacing()) / 2
    direction = np.array(image.GetDirection()).reshape(3, 3)
    origin = (image.GetOrigin() + direction @ shift).tolist()
    resampled = sitk.Resample(
        image, shape, sitk.Transform(), sitk.sitkLinear, origin, SPACING_MM,
        image.GetDirection(), -1024.0, sitk.sitkInt16,
    )  # fmt: skip
    return sitk.GetArrayFromImage(resampled)


def monai(path: Path) -> np.ndarray:
    """MONAI's transforms in the order of the published chain."""
    from monai import transforms as m

    reader = "PydicomReader" if path.is_dir() else "NibabelReader"
    chain = m.Compose(
        [
            m.LoadImage(reader=reader, image_only=True, ensure_channel_first=True),
            m.Orientation("RAS"),
            m.Spacing(SPACING_MM, mode="bilinear"),
            m.ScaleIntensityRange(-1000, 1000, -1, 1, clip=True),
            m.CenterSpatialCrop(CROP),
            m.SpatialPad(CROP, mode="reflect"),
        ]
    )
    return np.asarray(chain(path))


def exact(path: Path) -> np.ndarray:
    """Trilinear values in float64 on the grid of `prepare`, by scipy; the reference for errors."""
    from scipy.ndimage import map_coordinates

    from simcrop.data.contract import Contract
    from simcrop.data.preprocessing import prepare_volume
    from simcrop.data.volume import read_volume

    ours, native = prepare_volume(path, Contract()), read_volume(path)
    to_native = np.linalg.inv(native.affine) @ ours.affine
    axes = [
        (scale * np.arange(n) + shift).clip(0, size - 1)
        for n, scale, shift, size in zip(
            ours.shape, np.diag(to_native)[:3], to_native[:3, 3], native.shape, strict=True
        )
    ]
    result = np.empty(ours.shape)
    for x, at in enumerate(axes[0]):  # one sagittal plane after the other
        low = min(int(at), native.shape[0] - 2)
        grid = np.meshgrid(np.full(1, at - low), axes[1], axes[2], indexing="ij")
        block = native.hu[low : low + 2].astype(np.float64)
        result[x] = map_coordinates(block, grid, order=1, mode="nearest")[0]
    return result


def nibabel_file(path: Path) -> np.ndarray:
    """One stored volume as most code reads it: nibabel, `get_fdata`, float32."""
    import nibabel

    return np.asarray(nibabel.load(path).get_fdata(), dtype=np.float32)  # ty: ignore


def nibabel_integers(path: Path) -> np.ndarray:
    """The same without its detour over float64."""
    import nibabel

    return np.asarray(nibabel.load(path).dataobj).astype(np.float32)  # ty: ignore


def store_file(path: Path) -> np.ndarray:
    """One stored volume through the store, to float32."""
    hu, _ = _store(_plain(path)).read_hu(_name(path))
    return hu.astype(np.float32)


def store_compressed(path: Path) -> np.ndarray:
    """The same from a store of .nii.gz."""
    hu, _ = _store(path.parent.parent).read_hu(_name(path))
    return hu.astype(np.float32)


def store_cached(path: Path) -> np.ndarray:
    """The same through the uncompressed copy."""
    hu, _ = _cached(path)
    return hu.astype(np.float32)


def memory_map(path: Path) -> np.ndarray:
    """The same voxels as a plain memory map, to float32."""
    array = np.load(_beside(path), mmap_mode="r")
    return array.astype(np.float32)


def store_cached_crop(path: Path) -> np.ndarray:
    """A piece of 96 x 96 x 48 voxels through the uncompressed copy."""
    hu, _ = _cached(path)
    return hu[_PIECE].astype(np.float32)


def memory_map_crop(path: Path) -> np.ndarray:
    """The same piece of a plain memory map."""
    array = np.load(_beside(path), mmap_mode="r")
    return array[_PIECE].astype(np.float32)


def monai_sample(path: Path) -> np.ndarray:
    """A random training sample by MONAI, in the form of the published chain."""
    from monai import transforms as m

    scaled = [0.8 * n for n in CROP]
    chain = m.Compose(
        [
            m.LoadImage(image_only=True, ensure_channel_first=True),
            m.Orientation("RAS"),
            m.ScaleIntensityRange(-1000, 1000, -1, 1, clip=True),
            m.RandSpatialCrop([int(n) for n in scaled], max_roi_size=CROP, random_size=True),
            m.SpatialPad(CROP, mode="reflect"),
            *(m.RandFlip(0.2, axis) for axis in range(3)),
            m.RandShiftIntensity(0.1, prob=0.1),
        ]
    )
    return np.asarray(chain(path))


def store_sample(path: Path) -> np.ndarray:
    """A random training sample out of the store, without its words."""
    return _sample(*_store(_plain(path)).read_hu(_name(path)))


def store_compressed_sample(path: Path) -> np.ndarray:
    """The same from a store of .nii.gz."""
    return _sample(*_store(path.parent.parent).read_hu(_name(path)))


def store_cached_sample(path: Path) -> np.ndarray:
    """The same through the uncompressed copy."""
    return _sample(*_cached(path))


def _sample(hu: np.ndarray, affine: np.ndarray) -> np.ndarray:
    from simcrop.config import AugmentationConfig
    from simcrop.data.augmentation import draw_place, draw_shift, generator_for
    from simcrop.data.contract import Contract
    from simcrop.data.views import view_of

    contract, rng, settings = (
        Contract(),
        generator_for(SEED, next(_EPOCHS), 0),
        AugmentationConfig(),
    )
    place = draw_place(
        hu.shape, contract, crop_scale=settings.crop_scale,
        flip_probabilities=settings.flip_probability, rng=rng,
    )  # fmt: skip
    shift = draw_shift(
        max_shift=settings.shift_range, probability=settings.shift_probability, rng=rng
    )
    return view_of(hu, place, contract, shift).voxels


@cache
def _store(folder: Path, cache: Path | None = None):
    from simcrop.data.store import Store

    return Store(folder, cache=cache)


def _cached(path: Path) -> tuple[np.ndarray, np.ndarray]:
    folder = _plain(path)
    return _store(folder, folder.with_name("cache")).read_hu(_name(path))


def _plain(path: Path) -> Path:
    """Return the store of .nii beside that of .nii.gz in which a volume lies."""
    return path.parent.parent.with_name("plain")


def _name(path: Path) -> str:
    return path.name.removesuffix(".nii.gz")


def _beside(path: Path) -> Path:
    return path.with_name(_name(path) + ".npy")


def make_ct(folder: Path) -> tuple[Path, Path]:
    """Write a chest-like 512 x 512 x 300 CT with correlated noise as .nii.gz and as DICOM."""
    import SimpleITK as sitk  # noqa: N813
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(SEED)
    shape = (300, 512, 512)
    y, x = np.ogrid[:512, :512]
    plane = np.where(((x - 256) / 230) ** 2 + ((y - 256) / 170) ** 2 < 1, 40.0, -1000.0)
    for center in (150, 362):
        plane[((x - center) / 85) ** 2 + ((y - 250) / 120) ** 2 < 1] = -850
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), (0.6, 0.7, 0.7))
    voxels = np.rint(plane + 18 / noise.std() * noise).clip(-1024, 3071).astype(np.int16)
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((0.7, 0.7, 1.0))
    image.SetOrigin((-179.0, -179.0, -600.0))
    file, series = folder / "ct.nii.gz", folder / "dicom"
    sitk.WriteImage(image, str(file), useCompression=True)
    series.mkdir()
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(shape[0]):
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2", "0008|0018": f"1.2.3.{k + 1}",
            "0008|0060": "CT", "0020|000d": "1.2.3", "0020|000e": "1.2.4",
            "0020|0013": str(k + 1), "0020|0032": f"-179\\-179\\{k - 600}",
            "0020|0037": "1\\0\\0\\0\\1\\0", "0028|0030": "0.7\\0.7", "0018|0050": "1",
            "0028|1052": "0", "0028|1053": "1",
        }  # fmt: skip
        plane_image = image[:, :, k]
        for tag, value in tags.items():
            plane_image.SetMetaData(tag, value)
        writer.SetFileName(str(series / f"{k:04d}.dcm"))
        writer.Execute(plane_image)
    return file, series


def make_store(folder: Path, volume: Path, copies: int) -> Path:
    """Prepare an archive twice, as .nii and .nii.gz; return the path of a compressed volume."""
    from simcrop.data.contract import Contract
    from simcrop.data.prepare import prepare as prepare_archive

    write_archive(folder / "archive", volume, copies)
    prepare_archive(folder / "archive", folder / "plain", Contract())
    prepare_archive(folder / "archive", folder / "store", Contract(), storage="nii.gz")
    stored = folder / "store" / "volumes" / "v00000.nii.gz"
    from simcrop.data.store import Store

    hu, _ = Store(folder / "store").read_hu("v00000")
    np.save(_beside(stored), hu)
    return stored


def write_archive(folder: Path, volume: Path, copies: int) -> None:
    """Write the tables of an archive in which every study shows the same volume."""
    folder.mkdir(parents=True)
    with (folder / "volumes.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["volume_id", "study_id", "path"])
        rows.writerows([f"v{i:05d}", f"s{i:05d}", volume.resolve()] for i in range(copies))
    with (folder / "reports.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["study_id", "patient_id", "findings", "impression"])
        rows.writerows(
            [f"s{i:05d}", f"p{i:05d}", f"No effusion in study number {i}.", "Normal."]
            for i in range(copies)
        )
