"""Small synthetic volumes whose every voxel is a known function of its place in the patient."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pydicom
import SimpleITK as sitk  # noqa: N813
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.ndimage import center_of_mass

from simcrop.data.volume import affine_of

LANDMARK_MM = np.array([11.0, -7.0, 23.0])


def world_of(image: sitk.Image) -> np.ndarray:
    """RAS+ mm of every voxel, shape (x, y, z, 3)."""
    affine = affine_of(image)
    index = np.stack(np.meshgrid(*map(np.arange, image.GetSize()), indexing="ij"), axis=-1)
    return index @ affine[:3, :3].T + affine[:3, 3]


def paint(image: sitk.Image, hu_at: Callable[[np.ndarray], np.ndarray]) -> sitk.Image:
    """Fill an image with a function of the place in mm, rounded to whole HU."""
    hu = np.rint(hu_at(world_of(image))).astype(np.int16)
    painted = sitk.GetImageFromArray(np.ascontiguousarray(hu.T))
    painted.CopyInformation(image)
    return painted


def blob(points: np.ndarray) -> np.ndarray:
    """Air with a bright smooth ball around the landmark, wide enough for its centre to be exact."""
    square = ((points - LANDMARK_MM) ** 2).sum(axis=-1)
    return -1000 + 2000 * np.exp(-square / (2 * 9.0**2))


def empty_ras(shape=(30, 32, 34), spacing=(2.5, 2.5, 3.0)) -> sitk.Image:
    """An image in RAS order whose box is centred on the landmark's neighbourhood."""
    image = sitk.Image(list(shape), sitk.sitkInt16)
    image.SetSpacing([float(mm) for mm in spacing])
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])
    corner = LANDMARK_MM - np.array(shape) * spacing / 2 + (3.0, -2.0, 1.0)
    image.SetOrigin((corner * (-1, -1, 1)).tolist())
    return image


def oblique(degrees: float, shape=(40, 40, 40), spacing=(2.5, 2.5, 2.5)) -> sitk.Image:
    """An empty image around the landmark whose axes are turned."""
    image = empty_ras(shape, spacing)
    turn = sitk.VersorTransform((0.3, 0.2, 0.9), float(np.deg2rad(degrees)))
    turned = np.array(turn.GetMatrix()).reshape(3, 3) @ np.diag([-1, -1, 1])
    image.SetDirection(turned.ravel().tolist())
    centre = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in shape])
    wanted = LANDMARK_MM * (-1, -1, 1) + (2.0, 1.0, -3.0)
    image.SetOrigin((np.array(image.GetOrigin()) - centre + wanted).tolist())
    return image


def center_of_ball(hu: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Centre of mass of the bright ball, in mm."""
    weight = (hu.astype(float) + 1000).clip(min=0)
    weight[weight < 20] = 0
    return affine[:3, :3] @ center_of_mass(weight) + affine[:3, 3]


def write_dicom(
    folder: Path,
    image: sitk.Image,
    *,
    modality="CT",
    lean_mm=0.0,
    drop=(),
    series=None,
    image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
) -> Path:
    """Write an LPS image as a DICOM series with intercept -1024 and a patient's name in it."""
    folder.mkdir(parents=True, exist_ok=True)
    series, spacing = series or generate_uid(), image.GetSpacing()
    direction, origin = np.array(image.GetDirection()).reshape(3, 3), np.array(image.GetOrigin())
    for number, pixels in enumerate(sitk.GetArrayFromImage(image)):
        if number in drop:
            continue
        place = origin + direction[:, 2] * spacing[2] * number + (0, lean_mm * number, 0)
        file = pydicom.Dataset()
        file.file_meta = pydicom.dataset.FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = CTImageStorage
        file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
        file.PatientName, file.PatientID, file.StudyDescription = "Secret^Name", "S1", "SecretText"
        file.StudyInstanceUID, file.SeriesInstanceUID, file.Modality = "1.2.3", series, modality
        file.InstanceNumber, file.ImageType = number + 1, [*image_type]
        file.ImagePositionPatient = [f"{mm:.4f}" for mm in place]
        file.ImageOrientationPatient = [f"{c:.6f}" for c in direction.T[:2].ravel()]
        file.PixelSpacing = [f"{spacing[1]:.6f}", f"{spacing[0]:.6f}"]
        file.Rows, file.Columns = pixels.shape
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
        file.BitsAllocated, file.BitsStored, file.HighBit = 16, 16, 15
        file.PixelRepresentation, file.RescaleSlope, file.RescaleIntercept = 0, 1, -1024
        file.PixelData = (pixels + 1024).astype(np.uint16).tobytes()
        file.save_as(folder / f"{series[-8:]}_{number:03d}.dcm", enforce_file_format=True)
    return folder


REPORTS = [
    ("s1", "Anna", "A ball is seen. No effusion.", "Ball."),
    ("s2", "Bert", "Clear lungs.", "Not given."),
    ("s3", "Anna", "", "Ball unchanged."),
]
VOLUMES = [
    ("v1", "s1", "v1.nii.gz"),
    ("v1_again", "s1", "v1_series"),
    ("v2", "s2", "v2.nrrd"),
    ("v3", "s3", "v3.mha"),
]
MASKS = [("s1", "A ball is seen.", "ball.nii.gz", 7, "Nodule")]


def write_table(path: Path, columns: str, rows: list[tuple]) -> None:
    pd.DataFrame(rows, columns=columns.split()).to_csv(path, index=False)


def write_archive(folder: Path, image: sitk.Image) -> Path:
    """Write four volumes of three studies of two patients, with every optional table."""
    folder.mkdir()
    sitk.WriteImage(image, str(folder / "v1.nii.gz"))
    write_dicom(folder / "v1_series", sitk.DICOMOrient(image, "LPS"))
    sitk.WriteImage(sitk.DICOMOrient(image, "LAS"), str(folder / "v2.nrrd"))
    sitk.WriteImage(image, str(folder / "v3.mha"))
    ball = sitk.Cast(image > 0, sitk.sitkUInt8)
    sitk.WriteImage(sitk.DICOMOrient(ball, "LPS") * 7, str(folder / "ball.nii.gz"))
    sitk.WriteImage(ball * 2 + 1, str(folder / "organs.nii.gz"))
    write_table(folder / "volumes.csv", "volume_id study_id path", VOLUMES)
    write_table(folder / "reports.csv", "study_id patient_id findings impression", REPORTS)
    write_table(folder / "masks.csv", "study_id sentence path value label", MASKS)
    write_table(folder / "labels.csv", "study_id Nodule", [("s1", 1), ("s2", 0), ("s9", 1)])
    write_table(folder / "anatomy.csv", "volume_id path", [("v1", "organs.nii.gz")])
    write_table(folder / "anatomy_names.csv", "value name", [(1, "air"), (3, "ball")])
    return folder
